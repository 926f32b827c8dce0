"""What decides on pixels beside the files: it is part of the key of all that is kept of them."""

import imagecodecs
import PIL
import tifffile
import torch
import torchvision

# Raise them with every change of what a file is decoded to, and of what is made of that.
DECODER_VERSION, TRANSFORM_VERSION = "2", "1"
_LIBRARIES = (PIL, tifffile, imagecodecs, torch, torchvision)


def pixel_versions() -> list[str]:
    """Of our own code, of the libraries that decode and resize, and of the processor.

    PyTorch resizes 8-bit images by other code, which rounds otherwise, where it has no AVX2.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    libraries = [str(library.__version__) for library in _LIBRARIES]
    return [DECODER_VERSION, TRANSFORM_VERSION, *libraries, capability]
