"""Draw one patient of the phantom: the anatomy, the cues of the class, and the images.

The anatomy is a trunk with two dark lungs, a heart, a spine, ribs and a smooth uneven background.
All of it varies between patients independently of the class; the cues are in the lungs.
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from tune_bio.datasets.phantom.cues import FINENESS_SPREAD, HAZE_SPREAD, SPICULATION_SPREAD, Cues

SIZE = 64
MAX_IMAGES = 4  # a patient has 1 to 4 images, all numbers equally likely

# The structures that carry the cues, equal for all classes. Their contrast relative to NOISE below
# sets how soon a network finds the outline and the texture.
SPICULES = (6, 10)  # range of their number, the end excluded
SPICULE_SHARPNESS = 25  # a spicule's half width is about 1 / sqrt of this, in radians
NODULE_RADIUS = (0.18, 0.24)  # range, in half image widths
NODULE_SOFTNESS = 0.18  # width of the nodule's edge, as a share of its radius
NODULE_BRIGHTNESS = (0.34, 0.44)  # range, above the surrounding lung
MARKING_CONTRAST = 0.055  # standard deviation of the lung markings
FINE_SIGMA = (0.6, 1.2)  # px: the pass band of fine markings (difference of two Gaussians)
COARSE_SIGMA = (1.4, 3.0)  # px: the pass band of coarse markings

# Differences between the images of one patient.
SHIFT_PX = 1.5  # standard deviation of the shift along each axis
ROTATION_DEG = 2.5  # standard deviation
ZOOM = 0.02  # standard deviation of the relative size
GAIN = 0.04  # standard deviation of the relative exposure
OFFSET = 0.02  # standard deviation of the brightness offset
NOISE = 0.01  # standard deviation of the detector noise

Image = npt.NDArray[np.float64]

# Anatomy is drawn with a margin, so that moving it into pose does not expose an empty border.
_MARGIN = 8
_CANVAS = SIZE + 2 * _MARGIN
_AXIS = (np.arange(_CANVAS) - (_CANVAS - 1) / 2) / (SIZE / 2)
_Y, _X = np.meshgrid(_AXIS, _AXIS, indexing="ij")  # half image widths, (0, 0) the centre


def draw_patient(rng: np.random.Generator, cues: Cues) -> npt.NDArray[np.uint8]:
    """Draw all images of one patient, (1 to 4, 64, 64), grey values 0 (black) to 255 (white)."""
    lungs = _lungs(rng)
    haze = rng.normal(cues.haze, HAZE_SPREAD)
    anatomy = (
        _trunk(rng)
        + _background(rng)
        - (rng.normal(0.36, 0.03) - haze) * lungs
        + _heart(rng)
        + _spine(rng)
        + _ribs(rng)
        + _markings(rng, cues.fineness) * lungs
        + _nodule(rng, lungs, cues.spiculation)
    )
    coefficients = ndimage.spline_filter(anatomy, order=3)
    count = int(rng.integers(1, MAX_IMAGES + 1))
    return np.stack([_exposure(rng, _pose(rng, coefficients)) for _ in range(count)])


def _ellipse(x: float, y: float, width: float, height: float, softness: float) -> Image:
    """Draw an ellipse, 1 inside and 0 outside; `softness` is the edge width over the radius."""
    radius = np.hypot((_X - x) / width, (_Y - y) / height)
    return _inside(radius - 1, softness)


def _inside(distance: Image, softness: float) -> Image:
    return 0.5 - 0.5 * np.tanh(distance / softness)


def _trunk(rng: np.random.Generator) -> Image:
    shoulders = _ellipse(0, rng.normal(0.5, 0.1), rng.normal(1.05, 0.06), 1.7, 0.10)
    return 0.08 + rng.normal(0.52, 0.02) * shoulders


def _background(rng: np.random.Generator) -> Image:
    """Draw slow unevenness over the field, such as from scatter and soft tissue."""
    noise = ndimage.gaussian_filter(rng.standard_normal((_CANVAS, _CANVAS)), 10)
    tilt = rng.normal(0, 0.03) * _X + rng.normal(0, 0.03) * _Y
    uneven: Image = 0.03 * noise / noise.std() + tilt
    return uneven


def _lungs(rng: np.random.Generator) -> Image:
    """Draw the two lungs as one mask, 0 to 1."""
    gap, top = rng.normal(0.46, 0.03), rng.normal(-0.02, 0.05)
    width, height = rng.normal(0.34, 0.03), rng.normal(0.70, 0.05)
    right = _ellipse(-gap, top, width * rng.normal(1, 0.04), height * rng.normal(1, 0.04), 0.12)
    left = _ellipse(gap, top, width * rng.normal(1, 0.04), height * rng.normal(1, 0.04), 0.12)
    return np.maximum(right, left)


def _heart(rng: np.random.Generator) -> Image:
    width, height = rng.normal(0.34, 0.04), rng.normal(0.30, 0.04)
    shadow = _ellipse(rng.normal(0.20, 0.03), rng.normal(0.38, 0.05), width, height, 0.2)
    return rng.normal(0.22, 0.03) * shadow


def _spine(rng: np.random.Generator) -> Image:
    """Draw a bright column with periodic vertebrae."""
    column = np.exp(-0.5 * ((_X - rng.normal(0, 0.02)) / rng.normal(0.10, 0.01)) ** 2)
    vertebrae = 1 + 0.15 * np.cos(2 * np.pi * (_Y / rng.normal(0.22, 0.01) + rng.random()))
    spine: Image = rng.normal(0.14, 0.02) * column * vertebrae
    return spine


def _ribs(rng: np.random.Generator) -> Image:
    """Draw bright arcs that descend from the spine on either side."""
    height = _Y - rng.normal(0.45, 0.08) * _X**2
    phase = 2 * np.pi * (height / rng.normal(0.30, 0.02) + rng.random())
    chest = _ellipse(0, 0, 0.92, 0.95, 0.08)
    ribs: Image = rng.normal(0.09, 0.015) * chest * (0.5 + 0.5 * np.cos(phase)) ** 3
    return ribs


def _markings(rng: np.random.Generator, fineness: float) -> Image:
    """Draw the texture cue: lung markings, with the same contrast at any fineness."""
    fine, coarse = (_band_noise(rng, *sigma) for sigma in (FINE_SIGMA, COARSE_SIGMA))
    share = np.clip(rng.normal(fineness, FINENESS_SPREAD), 0, 1)
    markings: Image = MARKING_CONTRAST * (np.sqrt(share) * fine + np.sqrt(1 - share) * coarse)
    return markings


def _band_noise(rng: np.random.Generator, narrow: float, wide: float) -> Image:
    noise = rng.standard_normal((_CANVAS, _CANVAS))
    band: Image = ndimage.gaussian_filter(noise, narrow) - ndimage.gaussian_filter(noise, wide)
    unit: Image = band / band.std()
    return unit


def _nodule(rng: np.random.Generator, lungs: Image, spiculation: float) -> Image:
    """Draw one nodule at a random visible place in a lung."""
    places = np.argwhere((lungs > 0.9) & (np.abs(_Y) < 0.6))
    row, column = places[rng.integers(len(places))]
    x, y = _X - _X[row, column], _Y - _Y[row, column]
    angles, outline = _outline(rng, spiculation)
    reach = np.interp(np.arctan2(y, x), angles, outline, period=2 * np.pi)
    shape = _inside(np.hypot(x, y) / rng.uniform(*NODULE_RADIUS) - reach, NODULE_SOFTNESS)
    return rng.uniform(*NODULE_BRIGHTNESS) * shape


def _outline(
    rng: np.random.Generator, spiculation: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Draw the outline cue: angles in radians, and the outline's distance there over the radius."""
    length = np.clip(rng.normal(spiculation, SPICULATION_SPREAD), 0, None)
    count = int(rng.integers(*SPICULES))
    spicules = (np.arange(count) + rng.uniform(-0.3, 0.3, count)) * 2 * np.pi / count
    lengths = length * rng.uniform(0.3, 1, count)
    angles = np.linspace(-np.pi, np.pi, 180, endpoint=False)
    rays = np.exp(SPICULE_SHARPNESS * (np.cos(angles[:, None] - spicules) - 1))
    outline = 1 + rays @ lengths
    # The area is proportional to the mean squared outline. Without this scaling, spicules would
    # enlarge the nodule, and the mean brightness would distinguish the classes.
    return angles, outline / np.sqrt(np.mean(outline**2))


def _pose(rng: np.random.Generator, coefficients: Image) -> Image:
    """Rotate, zoom and shift the canvas, given as cubic spline coefficients, and crop the field."""
    angle, zoom = np.deg2rad(rng.normal(0, ROTATION_DEG)), rng.normal(1, ZOOM)
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    matrix = np.array([[cos, -sin], [sin, cos]])
    centre = np.full(2, (_CANVAS - 1) / 2) + rng.normal(0, SHIFT_PX, 2)
    offset = centre - matrix @ np.full(2, (SIZE - 1) / 2)
    return ndimage.affine_transform(
        coefficients,
        matrix,
        offset,
        output_shape=(SIZE, SIZE),
        order=3,
        mode="nearest",
        prefilter=False,
    )


def _exposure(rng: np.random.Generator, image: Image) -> npt.NDArray[np.uint8]:
    """Expose the image, add detector noise and quantise to 0 to 255."""
    exposed = rng.normal(1, GAIN) * image + rng.normal(0, OFFSET)
    noisy = exposed + rng.normal(0, NOISE, image.shape)
    return np.clip(np.rint(255 * noisy), 0, 255).astype(np.uint8)
