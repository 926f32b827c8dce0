"""Freeze strategies: which part trains in which epoch.

`backbone` is a linear probe on fixed features. `lp_ft` is linear probing, then fine-tuning
(Kumar et al., ICLR 2022, arXiv:2202.10054): the head is trained first, so that fine-tuning does
not distort good features while the head is still random.
"""

from collections.abc import Iterator

from torch import nn

from tune_bio.config import TrialConfig
from tune_bio.models.classifier import Classifier


def backbone_is_frozen(config: TrialConfig, epoch: int) -> bool:
    """Whether only the head trains in `epoch` (counted from 1)."""
    if config.freeze == "lp_ft":
        return epoch <= config.lp_epochs
    return config.freeze == "backbone"


def phase(config: TrialConfig, epoch: int) -> tuple[int, int]:
    """(first epoch, number of epochs) of the phase that `epoch` is in.

    Each phase has its own optimizer and its own learning-rate schedule.
    """
    if config.freeze != "lp_ft":
        return 1, config.epochs
    if epoch <= config.lp_epochs:
        return 1, config.lp_epochs
    return config.lp_epochs + 1, config.epochs - config.lp_epochs


def freeze(model: Classifier, *, frozen: bool) -> None:
    """Freeze or free the backbone, gradients and mode both."""
    model.frozen = frozen
    model.backbone.requires_grad_(not frozen)
    model.train(model.training)


def trainable(model: Classifier) -> Iterator[nn.Parameter]:
    """The parameters that an optimizer may see."""
    return (parameter for parameter in model.parameters() if parameter.requires_grad)


def trained_part(config: TrialConfig) -> str:
    """Prefix of the state that training changes: the head's alone under `backbone`."""
    return "head." if config.freeze == "backbone" else ""
