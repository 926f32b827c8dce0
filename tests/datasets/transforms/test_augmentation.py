"""A contract for all augmentations, and the effect of each one."""

from typing import get_args

import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode, functional

from tune_bio.datasets.transforms import augmentation
from tune_bio.datasets.transforms.augmentation import (
    adjust_colour,
    build_augmentation,
    draw_colour,
    draw_motion,
    move,
)
from tune_bio.errors import ConfigError
from tune_bio.space.trial_config import TrialConfig

NAMES = get_args(TrialConfig.model_fields["augment"].annotation)
CHANGING = [name for name in NAMES if name != "none"]
every = pytest.mark.parametrize("name", NAMES)
changing = pytest.mark.parametrize("name", CHANGING)
grey_and_colour = pytest.mark.parametrize("channels", [1, 3])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(channels: int = 1, count: int = 24, side: int = 32) -> torch.Tensor:
    """Return smooth, different images from 0.1 to 0.9 with a bright left half."""
    noise = torch.rand(count, channels, side, side, generator=seeded(7))
    smooth = functional.gaussian_blur(noise, [7, 7])
    gradient = torch.linspace(1, 0, side).expand(side, side)
    mixed = smooth + gradient
    low, high = mixed.amin(dim=(1, 2, 3), keepdim=True), mixed.amax(dim=(1, 2, 3), keepdim=True)
    return 0.1 + 0.8 * (mixed - low) / (high - low)


def augmented(name: str, images: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return build_augmentation(name)(images, seeded(seed))


def changed(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Return True for each image that changed, (n,)."""
    return (before != after).flatten(1).any(dim=1)


def test_only_the_choices_of_a_configuration_can_be_built() -> None:
    assert set(NAMES) == {"none", "flip", "jitter", "affine", "trivial"}
    for name in NAMES:
        build_augmentation(name)
    with pytest.raises(ConfigError, match=r"'mixup'.*none, flip, jitter, affine, trivial"):
        build_augmentation("mixup")


@every
@grey_and_colour
def test_shape_dtype_range_and_input_stay_the_same(name: str, channels: int) -> None:
    images = torch.cat([pictures(channels), torch.ones(1, channels, 32, 32)])
    before = images.clone()
    for seed in range(5):
        result = augmented(name, images, seed)
        assert result.shape == images.shape
        assert result.dtype == torch.float32
        assert result.device == images.device
        assert result.min() >= 0
        assert result.max() <= 1
    assert torch.equal(images, before)


@every
@grey_and_colour
def test_equal_seeds_give_equal_results(name: str, channels: int) -> None:
    images = pictures(channels)
    assert torch.equal(augmented(name, images), augmented(name, images))


@changing
def test_another_seed_or_a_second_batch_gives_another_result(name: str) -> None:
    images, generator = pictures(), seeded()
    augment = build_augmentation(name)
    first, second = augment(images, generator), augment(images, generator)
    assert not torch.equal(first, second)
    assert not torch.equal(first, augmented(name, images, seed=1))


@changing
@grey_and_colour
def test_equal_images_of_a_batch_come_out_different(name: str, channels: int) -> None:
    result = augmented(name, pictures(channels, count=1).expand(24, -1, -1, -1))
    variants = len(torch.unique(result, dim=0))
    assert variants == 2 if name == "flip" else variants > 12


@every
def test_the_global_generator_is_neither_used_nor_changed(name: str) -> None:
    images = pictures()
    expected = augmented(name, images)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(99)
        state = torch.get_rng_state()
        assert torch.equal(augmented(name, images), expected)
        assert torch.equal(torch.get_rng_state(), state)


@every
def test_gpus_are_never_seeded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout uses the GPU generators: reseeding them in every batch would repeat its masks."""

    def refuse(seed: int) -> None:
        pytest.fail("a GPU's generator was seeded")

    monkeypatch.setattr("torch.cuda.manual_seed_all", refuse)
    augmented(name, pictures(count=2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@every
@grey_and_colour
def test_a_gpu_agrees_with_the_cpu(name: str, channels: int) -> None:
    images = pictures(channels)
    state = torch.cuda.get_rng_state()
    result = augmented(name, images.cuda())
    assert result.is_cuda
    assert torch.equal(torch.cuda.get_rng_state(), state)
    # Rounding puts a few pixels on the other side of a threshold in `trivial`.
    differ = (result.cpu() - augmented(name, images)).abs() > 1e-5
    assert differ.float().mean() < (0.005 if name == "trivial" else 1e-9)


@every
@grey_and_colour
def test_the_memory_format_does_not_matter(name: str, channels: int) -> None:
    images = pictures(channels)
    channels_last = images.contiguous(memory_format=torch.channels_last)
    for seed in range(3):
        assert torch.equal(augmented(name, channels_last, seed), augmented(name, images, seed))


@pytest.mark.parametrize("name", ["flip", "affine"])
def test_moving_an_image_keeps_its_brightness(name: str) -> None:
    images = pictures()
    before, after = (i.mean(dim=(1, 2, 3)) for i in (images, augmented(name, images)))
    torch.testing.assert_close(after, before, rtol=0, atol=0.06)


def test_none_returns_the_images_and_draws_nothing() -> None:
    images, generator = pictures(), seeded()
    assert torch.equal(build_augmentation("none")(images, generator), images)
    assert torch.equal(generator.get_state(), seeded().get_state())


def test_flip_mirrors_about_half_of_the_images_and_is_its_own_inverse() -> None:
    images = pictures(3, count=200, side=8)
    result = augmented("flip", images)
    flipped = changed(images, result)
    assert 70 < flipped.sum() < 130
    assert torch.equal(result[flipped], images[flipped].flip(-1))
    assert torch.equal(augmented("flip", result), images)


@grey_and_colour
def test_jitter_agrees_with_torchvision_image_by_image(channels: int) -> None:
    images = pictures(channels)
    factors = draw_colour(len(images), seeded())
    results = augmented("jitter", images)
    for image, (brightness, contrast, saturation), result in zip(
        images, factors.tolist(), results, strict=True
    ):
        expected = functional.adjust_brightness(image, brightness)
        expected = functional.adjust_contrast(expected, contrast)
        expected = functional.adjust_saturation(expected, saturation)
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)


def test_jitter_draws_over_its_whole_range_and_a_factor_of_one_changes_nothing() -> None:
    factors = draw_colour(1000, seeded())
    for column in factors.unbind(dim=1):
        assert 0.8 <= column.min() < 0.81
        assert 1.19 < column.max() <= 1.2
    images = pictures(3)
    torch.testing.assert_close(adjust_colour(images, torch.ones(24, 3)), images)


def test_saturation_changes_colours_only() -> None:
    grey, colours = pictures(1), pictures(3)
    factors = torch.tensor([[1.0, 1.0, 0.5]]).expand(24, 3)
    assert torch.equal(adjust_colour(grey, factors), grey)
    assert changed(colours, adjust_colour(colours, factors)).all()


AT_REST = torch.tensor([0.0, 0.0, 0.0, 1.0])


def test_affine_at_rest_is_the_identity() -> None:
    images = pictures(3)
    torch.testing.assert_close(move(images, AT_REST.expand(24, 4)), images, rtol=0, atol=1e-5)


def test_affine_draws_over_its_whole_range() -> None:
    motion = draw_motion(1000, seeded())
    lows, highs = motion.amin(dim=0), motion.amax(dim=0)
    torch.testing.assert_close(lows, torch.tensor([-10, -0.05, -0.05, 0.9]), rtol=0.02, atol=0)
    torch.testing.assert_close(highs, torch.tensor([10, 0.05, 0.05, 1.1]), rtol=0.02, atol=0)


@pytest.mark.parametrize(
    "motion",
    [(10, 0, 0, 1), (0, 0.05, 0, 1), (0, 0, -0.05, 1), (0, 0, 0, 1.1), (-7, 0.03, -0.04, 0.9)],
)
def test_affine_agrees_with_torchvision_away_from_the_border(motion: tuple[float, ...]) -> None:
    images = pictures(3, count=2, side=40)
    angle, right, down, zoom = motion
    moved = move(images, torch.stack([torch.tensor(motion), AT_REST]))
    expected = functional.affine(
        images[0],
        angle=angle,
        translate=[40 * right, 40 * down],
        scale=zoom,
        shear=[0.0, 0.0],
        interpolation=InterpolationMode.BILINEAR,
    )
    inner = (slice(None), slice(9, -9), slice(9, -9))
    torch.testing.assert_close(moved[0][inner], expected[inner], rtol=0, atol=1e-4)
    assert (moved[0][inner] - images[0][inner]).abs().max() > 0.01
    torch.testing.assert_close(moved[1], images[1], rtol=0, atol=1e-5)


def test_affine_leaves_a_uniform_image_uniform_up_to_its_border() -> None:
    images = torch.linspace(0, 1, 24).view(-1, 1, 1, 1).expand(-1, 3, 32, 32)
    torch.testing.assert_close(augmented("affine", images), images)


def test_trivial_draws_all_of_its_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    operations = []
    apply = augmentation.TrivialAugmentWide._apply_image_or_video_transform

    def spy(self: object, image: object, operation: str, *args: object, **kwargs: object) -> object:
        operations.append(operation)
        return apply(self, image, operation, *args, **kwargs)

    monkeypatch.setattr(augmentation.TrivialAugmentWide, "_apply_image_or_video_transform", spy)
    augmented("trivial", pictures(3, count=200, side=16))
    assert len(operations) == 200
    assert len(set(operations)) == 14
