"""Freeze strategies: which part trains in which epoch.

A model is a sequence of groups: stem, stages, head. The head always trains, and the frozen groups
are always the first ones. `backbone` is a linear probe on fixed features. `lp_ft` is linear
probing, then fine-tuning (Kumar et al., ICLR 2022, arXiv:2202.10054): the head is trained first,
so that fine-tuning does not distort good features while the head is still random. `gradual` is
gradual unfreezing from the head down (Howard & Ruder, ACL 2018, arXiv:1801.06146).
"""

from collections.abc import Iterator

from torch import nn

from tune_bio.errors import ConfigError
from tune_bio.models.classifier import Classifier
from tune_bio.space.trial_config import TrialConfig


def frozen_groups(config: TrialConfig, epoch: int, groups: int) -> int:
    """Return how many backbone groups, from the stem on, are frozen in `epoch` (from 1)."""
    if config.freeze in ("backbone", "backbone_bn"):
        return groups
    if config.freeze == "lp_ft":
        return groups if epoch <= config.lp_epochs else 0
    if config.freeze == "gradual":
        return max(0, groups - (epoch - 1) // config.unfreeze_every)
    if config.frozen_stages:
        return config.frozen_stages + 1
    return 0


def phase(config: TrialConfig, epoch: int) -> tuple[int, int]:
    """Return (first epoch, number of epochs) of the phase that contains `epoch`.

    Each phase has its own optimizer and learning-rate schedule. Gradual unfreezing is a single
    phase: unfrozen parameters join the optimizer.
    """
    if config.freeze != "lp_ft":
        return 1, config.epochs
    if epoch <= config.lp_epochs:
        return 1, config.lp_epochs
    return config.lp_epochs + 1, config.epochs - config.lp_epochs


def freeze(model: Classifier, config: TrialConfig, epoch: int) -> None:
    """Freeze what is frozen in `epoch` and unfreeze the rest: both gradients and module modes."""
    groups = _groups(model)
    frozen = {
        name for group in groups[: frozen_groups(config, epoch, len(groups))] for name in group
    }
    for name, parameter in model.backbone.named_parameters():
        parameter.requires_grad_(name not in frozen)
    adapting = config.freeze == "backbone_bn"
    model.fix(() if adapting else tuple(_frozen_modules(model.backbone)))


def trainable_groups(model: Classifier) -> list[list[nn.Parameter]]:
    """Return the trainable parameters by group, in the order in which groups are unfrozen."""
    backbone = dict(model.backbone.named_parameters())
    stages = [[backbone[name] for name in names] for names in reversed(_groups(model))]
    trainable = [
        [p for p in group if p.requires_grad] for group in [list(model.head.parameters()), *stages]
    ]
    return [group for group in trainable if group]


def trained_names(model: Classifier, config: TrialConfig) -> frozenset[str]:
    """Return the names, in the model's state, of all that training changes during the trial."""
    freeze(model, config, config.epochs)  # the last epoch trains the most
    parameters = dict(model.named_parameters())
    fixed = {id(t) for m in model.fixed for t in (*m.parameters(), *m.buffers())}
    state = model.state_dict(keep_vars=True)
    return frozenset(
        name
        for name, tensor in state.items()
        if (parameters[name].requires_grad if name in parameters else id(tensor) not in fixed)
    )


def refuse_missing_stages(model: Classifier, config: TrialConfig) -> None:
    """Raise ConfigError if the strategy needs stages that the network does not have."""
    if not (config.frozen_stages or config.freeze == "gradual"):
        return
    count = len(model.stages) - 1
    if count < 1:
        raise ConfigError(
            f"freeze={config.freeze!r} needs stages, and {config.model} has none",
            "use freeze='backbone', 'lp_ft' or 'none' on that branch",
        )
    if config.frozen_stages >= count:
        raise ConfigError(
            f"freeze={config.freeze!r} leaves nothing of the backbone to train: {config.model} "
            f"has {count} stages",
            f"use at most stages_{count - 1}, or freeze='backbone'",
        )


def _groups(model: Classifier) -> tuple[tuple[str, ...], ...]:
    everything = tuple(name for name, _ in model.backbone.named_parameters())
    return model.stages or (everything,)


def _frozen_modules(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the largest modules whose parameters are all frozen."""
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        yield module
    else:
        for child in module.children():
            yield from _frozen_modules(child)
