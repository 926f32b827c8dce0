"""Everything besides the files that determines pixels; part of the key of every cached result."""

import imagecodecs
import PIL
import tifffile
import torch
import torchvision

# Increment these with every change to the result of decoding, or of a transform.
DECODER_VERSION, TRANSFORM_VERSION = "2", "1"
_LIBRARIES = (PIL, tifffile, imagecodecs, torch, torchvision)


def pixel_versions() -> list[str]:
    """Return the versions of `tune_bio`'s decoder and the libraries, and the CPU capability.

    Without AVX2, PyTorch resizes 8-bit images with different code, which rounds differently.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    libraries = [str(library.__version__) for library in _LIBRARIES]
    return [DECODER_VERSION, TRANSFORM_VERSION, *libraries, capability]
