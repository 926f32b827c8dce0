"""Where the frozen part of a network ends, and how what is before and behind it runs apart.

Nothing here knows a family of networks. The frozen modules are watched on a few images; behind
the last one to run, the network goes on from a tensor that was kept instead of from an image. What
it does on the way there, in modules or in plain functions, it then does on tensors of PyTorch's
meta device, which have shapes and no numbers. Whether the network bears being run so is tried
out on a real batch, since some reach back across the cut.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import torch
from torch import nn

from tune_bio.common.seeding import global_seed
from tune_bio.datasets.feature_arrays import FeatureCut
from tune_bio.models.classifier import Classifier
from tune_bio.models.meta_device import META

__all__ = ["FeatureCut", "NoCutError", "after_cut", "before_cut", "find_cut", "verify"]

TOLERANCE = 1e-5  # of the largest logit: the rest computes from the same numbers


class NoCutError(Exception):
    """Why a network cannot be run in two parts."""


def find_cut(model: Classifier, images: torch.Tensor) -> FeatureCut:
    """Where the frozen part of `model`, as `freeze` has fixed it, ends.

    Args:
        model: is left in evaluation mode.
        images: two or more, (n, channels, S, S) float32.

    Raises:
        NoCutError: nothing is frozen, something trains before the end of what is, or a frozen
            module does not give one tensor an image, once.
    """
    names = {module: name for name, module in model.named_modules()}
    seen: list[tuple[str, object]] = []

    def note(module: nn.Module, inputs: object, output: object) -> None:
        seen.append((names[module], output))

    hooks = [module.register_forward_hook(note) for module in model.fixed]
    try:
        with torch.enable_grad():
            model.eval()(images)
    finally:
        for hook in hooks:
            hook.remove()
    modules = tuple(name for name, _ in seen)
    if not modules:
        raise NoCutError("nothing is frozen")
    if len(set(modules)) < len(modules):
        raise NoCutError("a frozen layer runs more than once")
    outputs = [_one_an_image(name, output, len(images)) for name, output in seen]
    return FeatureCut(
        modules,
        tuple(tuple(output.shape[1:]) for output in outputs),
        tuple(images.shape[1:]),
        channels_last=outputs[-1].ndim == 4
        and outputs[-1].is_contiguous(memory_format=torch.channels_last)
        and not outputs[-1].is_contiguous(),
    )


def before_cut(model: Classifier, cut: FeatureCut, images: torch.Tensor) -> torch.Tensor:
    """The features of images (n, channels, S, S), (n, *cut.row) float32; nothing behind is run.

    The model is left in evaluation mode.
    """

    def stop(module: nn.Module, inputs: object, output: torch.Tensor) -> NoReturn:
        raise _Reached(output)

    hook = model.get_submodule(cut.modules[-1]).register_forward_hook(stop)
    try:
        with torch.inference_mode():
            model.eval()(images)
    except _Reached as reached:
        features = reached.features
        return features.permute(0, 2, 3, 1) if cut.channels_last else features
    finally:
        hook.remove()
    raise AssertionError(f"{cut.modules[-1]} did not run")


def after_cut(model: Classifier, cut: FeatureCut, features: torch.Tensor) -> torch.Tensor:
    """Logits from features (n, *cut.row), in the model's mode; gradients for what is not frozen."""
    n = len(features)
    features = features.permute(0, 3, 1, 2) if cut.channels_last else features
    passed = [torch.empty(n, *shape, device=META) for shape in cut.shapes[:-1]]
    with _standing_in(model, cut.modules, [*passed, features]):
        logits: torch.Tensor = model(torch.empty(n, *cut.image, device=META))
    return logits


def verify(model: Classifier, cut: FeatureCut, images: torch.Tensor) -> None:
    """See that the two parts give what the whole gives, in evaluation and in training.

    The running statistics of what is not frozen move.

    Raises:
        NoCutError: they do not.
    """
    features = before_cut(model, cut, images).clone()
    for training in (False, True):
        model.train(training)
        with torch.no_grad():
            with global_seed(0, "verify"):
                expected = model(images)
            try:
                with global_seed(0, "verify"):
                    found = after_cut(model, cut, features.clone())
            except (RuntimeError, ValueError, TypeError, IndexError, KeyError) as error:
                first = str(error).strip().splitlines()[:1]
                raise NoCutError(f"it reaches back across the cut ({' '.join(first)})") from error
        if found.device != expected.device or not _close(found, expected):
            raise NoCutError("what is behind the cut depends on more than the frozen part")
        if torch.equal(expected, expected[:1].expand_as(expected)):
            raise NoCutError("images that differ have the same output, which shows nothing")


class _Reached(Exception):
    """No error: it ends a pass early."""

    def __init__(self, features: torch.Tensor) -> None:
        self.features = features


@contextmanager
def _standing_in(
    model: Classifier, names: Sequence[str], outputs: Sequence[torch.Tensor]
) -> Iterator[None]:
    """Let the modules give these outputs, whatever they are called with."""
    modules = [model.get_submodule(name) for name in names]
    for module, output in zip(modules, outputs, strict=True):
        object.__setattr__(module, "forward", lambda *inputs, given=output, **options: given)
    try:
        yield
    finally:
        for module in modules:
            object.__delattr__(module, "forward")


def _one_an_image(name: str, output: object, images: int) -> torch.Tensor:
    fits = isinstance(output, torch.Tensor) and output.ndim > 1 and len(output) == images
    if not isinstance(output, torch.Tensor) or not fits or output.dtype != torch.float32:
        raise NoCutError(f"the frozen layer {name} does not give one tensor an image")
    if output.requires_grad:
        raise NoCutError(f"something trains before the frozen layer {name}")
    return output


def _close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    difference = (found - expected).abs().max()
    return bool(difference <= TOLERANCE * expected.abs().max())
