"""Augmentation: random changes to training images, different for every image and epoch.

torchvision's transforms draw once per call, so that all images of a batch would be turned alike.
Here the parameters of a batch are drawn on the CPU, one row per image, and applied on the images'
device: a seed gives the same augmentation on every device.
"""

from collections.abc import Callable

import torch
from torch.nn.functional import affine_grid, grid_sample
from torchvision.transforms.v2 import TrivialAugmentWide, functional

from tune_bio.errors import ConfigError

# Takes (n, C, S, S) floating-point images from 0 (black) to 1 (white), where C is 1 or 3, and a CPU
# generator; returns images of the same shape, dtype, range and device, and leaves its input as is.
Augmentation = Callable[[torch.Tensor, torch.Generator], torch.Tensor]

FLIPPED_SHARE = 0.5
STRENGTH = 0.2  # brightness, contrast and saturation change by up to this share
ROTATION = 10.0  # degrees, in either direction
TRANSLATION = 0.05  # of the image's side, along each axis
ZOOM = 0.1  # up to this share larger or smaller


def build_augmentation(name: str) -> Augmentation:
    """Return the augmentation that a configuration names.

    none: images are unchanged.
    flip: images are mirrored left to right with probability 1/2.
    jitter: brightness and contrast vary, and saturation for colour images.
    affine: images are rotated, shifted and zoomed a little; their edge pixels fill the border.
    trivial: TrivialAugmentWide (Mueller and Hutter, ICCV 2021, arXiv:2103.10158), one of fourteen
        operations at a random strength. It was designed for photographs: it may darken, rotate or
        shift an image so far that the signs of its class are hidden.

    Raises:
        ConfigError: there is no augmentation of this name.
    """
    if name not in _AUGMENTATIONS:
        raise ConfigError(f"unknown augmentation {name!r}", f"known: {', '.join(_AUGMENTATIONS)}")
    return _AUGMENTATIONS[name]


def _none(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return images


def _flip(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    flipped = torch.rand(len(images), generator=generator) < FLIPPED_SHARE
    mirrored = functional.horizontal_flip(images)
    return torch.where(flipped.view(-1, 1, 1, 1).to(images.device), mirrored, images)


def _jitter(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return adjust_colour(images, draw_colour(len(images), generator))


def _affine(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return move(images, draw_motion(len(images), generator))


def _trivial(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    transform = TrivialAugmentWide()
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would also seed the GPUs' generators, permanently.
        torch.default_generator.manual_seed(_draw_seed(generator))
        return torch.stack([transform(image) for image in images])


_AUGMENTATIONS: dict[str, Augmentation] = {
    "none": _none,
    "flip": _flip,
    "jitter": _jitter,
    "affine": _affine,
    "trivial": _trivial,
}


def draw_colour(count: int, generator: torch.Generator) -> torch.Tensor:
    """Draw factors of brightness, contrast and saturation, (count, 3)."""
    return 1 + STRENGTH * _both_sides((count, 3), generator)


def adjust_colour(images: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Change brightness, then contrast, then saturation, as torchvision's functions do.

    Args:
        images: (n, C, S, S) from 0 to 1.
        factors: (n, 3) from `draw_colour`; 1 changes nothing. Grey images have no saturation.
    """
    brightness, contrast, saturation = factors.to(images).view(-1, 3, 1, 1, 1).unbind(dim=1)
    images = _blend(images, torch.zeros_like(images), brightness)
    mean = functional.rgb_to_grayscale(images).mean(dim=(1, 2, 3), keepdim=True)
    images = _blend(images, mean, contrast)
    if images.shape[1] == 1:
        return images
    return _blend(images, functional.rgb_to_grayscale(images), saturation)


def draw_motion(count: int, generator: torch.Generator) -> torch.Tensor:
    """Draw degrees clockwise, shifts right and down as shares of the side, and zoom, (count, 4)."""
    limits = torch.tensor([ROTATION, TRANSLATION, TRANSLATION, ZOOM])
    at_rest = torch.tensor([0.0, 0.0, 0.0, 1.0])
    return at_rest + limits * _both_sides((count, 4), generator)


def move(images: torch.Tensor, motion: torch.Tensor) -> torch.Tensor:
    """Rotate and zoom images about their centre, then shift them; bilinear, edges repeated.

    Args:
        images: (n, C, S, S) from 0 to 1.
        motion: (n, 4) from `draw_motion`.
    """
    angle = torch.deg2rad(motion[:, 0])
    x, y = 2 * motion[:, 1], 2 * motion[:, 2]  # coordinates of grid_sample run from -1 to 1
    cos, sin = angle.cos() / motion[:, 3], angle.sin() / motion[:, 3]
    # grid_sample needs the source of each output pixel: the inverse of the motion.
    rows = [cos, sin, -cos * x - sin * y, -sin, cos, sin * x - cos * y]
    inverse = torch.stack(rows, dim=1).view(-1, 2, 3).to(images)
    grid = affine_grid(inverse, list(images.shape), align_corners=False)
    moved = grid_sample(images, grid, padding_mode="border", align_corners=False)
    return moved.clamp_(0, 1)  # the interpolation's weights sum to 1 up to rounding


def _blend(images: torch.Tensor, others: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Mix `share` of `images` with the rest of `others`; a share above 1 extrapolates."""
    return (images * share + others * (1 - share)).clamp_(0, 1)


def _both_sides(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Draw uniformly from -1 to 1."""
    return 2 * torch.rand(shape, generator=generator) - 1


def _draw_seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**63 - 1, (), generator=generator))
