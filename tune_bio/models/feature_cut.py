"""Find the end of a network's frozen part, and run the parts before and after it separately.

Nothing here depends on the family of the network. Forward hooks record which frozen modules run
on a few images; the cut is after the last of them. To run only the part after the cut, the last
frozen module returns stored features instead of its own output, and everything before it, in
modules or in plain functions, computes on tensors of PyTorch's meta device, which have shapes but
no values. Some networks use earlier tensors after the cut, so `verify` compares both ways of
running on a real batch.
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

TOLERANCE = 1e-5  # relative to the largest logit: both ways start from the same features


class NoCutError(Exception):
    """A network cannot be run in two parts; the message is the reason."""


def find_cut(model: Classifier, images: torch.Tensor) -> FeatureCut:
    """Find the end of the frozen part of `model`, as set by `freeze`.

    Args:
        model: left in evaluation mode.
        images: at least two, (n, channels, S, S) float32.

    Raises:
        NoCutError: nothing is frozen, something trains before a frozen module, or a frozen module
            runs more than once or does not return a float32 tensor with one row per image.
    """
    names = {module: name for name, module in model.named_modules()}
    calls: list[tuple[str, object]] = []

    def record(module: nn.Module, inputs: object, output: object) -> None:
        calls.append((names[module], output))

    hooks = [module.register_forward_hook(record) for module in model.fixed]
    try:
        with torch.enable_grad():
            model.eval()(images)
    finally:
        for hook in hooks:
            hook.remove()
    modules = tuple(name for name, _ in calls)
    if not modules:
        raise NoCutError("nothing is frozen")
    if len(set(modules)) < len(modules):
        raise NoCutError("a frozen layer runs more than once")
    outputs = [_checked_output(name, output, len(images)) for name, output in calls]
    return FeatureCut(
        modules,
        tuple(tuple(output.shape[1:]) for output in outputs),
        tuple(images.shape[1:]),
        channels_last=outputs[-1].ndim == 4
        and outputs[-1].is_contiguous(memory_format=torch.channels_last)
        and not outputs[-1].is_contiguous(),
    )


def before_cut(model: Classifier, cut: FeatureCut, images: torch.Tensor) -> torch.Tensor:
    """Compute the features of images (n, channels, S, S): (n, *cut.row) float32.

    Nothing after the cut runs. The model is left in evaluation mode.
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
    """Compute logits from features (n, *cut.row), in the model's current mode.

    Gradients reach the parameters that are not frozen.
    """
    n = len(features)
    features = features.permute(0, 3, 1, 2) if cut.channels_last else features
    placeholders = [torch.empty(n, *shape, device=META) for shape in cut.shapes[:-1]]
    with _replaced_outputs(model, cut.modules, [*placeholders, features]):
        logits: torch.Tensor = model(torch.empty(n, *cut.image, device=META))
    return logits


def verify(model: Classifier, cut: FeatureCut, images: torch.Tensor) -> None:
    """Check that the two parts give the logits of the whole network, in both modes.

    The running statistics of layers that are not frozen change.

    Raises:
        NoCutError: the logits differ, or the check proves nothing on these images.
    """
    features = before_cut(model, cut, images).clone()
    for training in (False, True):
        model.train(training)
        with torch.no_grad():
            with global_seed(0, "verify"):
                expected = model(images)
            try:
                with global_seed(0, "verify"):
                    logits = after_cut(model, cut, features.clone())
            except (RuntimeError, ValueError, TypeError, IndexError, KeyError) as error:
                first_line = str(error).strip().splitlines()[:1]
                raise NoCutError(
                    f"the network uses earlier tensors after the cut ({' '.join(first_line)})"
                ) from error
        if logits.device != expected.device or not _is_close(logits, expected):
            raise NoCutError("the part after the cut depends on more than the frozen part")
        if torch.equal(expected, expected[:1].expand_as(expected)):
            raise NoCutError("different images give the same output, which proves nothing")


class _Reached(Exception):
    """Signal that ends a forward pass at the cut; not an error."""

    def __init__(self, features: torch.Tensor) -> None:
        self.features = features


@contextmanager
def _replaced_outputs(
    model: Classifier, names: Sequence[str], outputs: Sequence[torch.Tensor]
) -> Iterator[None]:
    """Make the modules return these outputs, whatever their inputs."""
    modules = [model.get_submodule(name) for name in names]
    for module, output in zip(modules, outputs, strict=True):
        object.__setattr__(module, "forward", lambda *inputs, fixed=output, **options: fixed)
    try:
        yield
    finally:
        for module in modules:
            object.__delattr__(module, "forward")


def _checked_output(name: str, output: object, images: int) -> torch.Tensor:
    """Return the output of a frozen module if features can be taken from it."""
    fits = isinstance(output, torch.Tensor) and output.ndim > 1 and len(output) == images
    if not isinstance(output, torch.Tensor) or not fits or output.dtype != torch.float32:
        raise NoCutError(f"the frozen layer {name} does not return one float32 row per image")
    if output.requires_grad:
        raise NoCutError(f"something trains before the frozen layer {name}")
    return output


def _is_close(logits: torch.Tensor, expected: torch.Tensor) -> bool:
    difference = (logits - expected).abs().max()
    return bool(difference <= TOLERANCE * expected.abs().max())
