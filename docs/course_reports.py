"""The tables and claims of five course reports, and the hyperparameters that repeat each row here.

Five students of one course (deep learning in biomedical optical imaging) wrote the reports; none
names its data. Texts and figures are theirs, as printed; a row sets only the hyperparameters that
its report states.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tune_bio.space.trial_config import Params


@dataclass(frozen=True)
class Row:
    """A row of a report's table: the hyperparameters trained, and the printed value per column."""

    trained: Params
    printed: Mapping[str, str]
    name: str
    note: str = ""


@dataclass(frozen=True)
class Claim:
    """A claim that follows from a report's figures (one run each), and its hyperparameter.

    `better` and `worse` are the two levels that it compares, if it compares two.
    """

    text: str
    about: str
    better: Params = field(default_factory=dict)
    worse: Params = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """A report: its search space, its table and its claims.

    `together` names two hyperparameters whose best values may depend on each other; the page also
    compares the speed and the stability of training by the first of them.
    """

    letter: str
    title: str
    space: str
    about: str
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...]
    together: tuple[str, ...] = ()


def _test(value: str) -> dict[str, str]:
    return {"test accuracy": value}


def _resnext(
    weights: str, batch: int, epochs: int, at: str, accuracy: str, test: str, time: str,
    freeze: str = "none", note: str = "",
) -> Row:  # fmt: skip
    frozen = " frozen" if freeze != "none" else ""
    return Row(
        {
            "weights": f"IMAGENET1K_{weights}", "batch_size": batch, "epochs": epochs,
            "freeze": freeze,
        },
        {
            "best validation loss at": at, "best validation accuracy": accuracy,
            "test accuracy": test, "time": time,
        },
        f"{weights}{frozen}, batch {batch}, {epochs} epochs",
        note,
    )  # fmt: skip


ANN_EPOCHS = Report(
    "A",
    "How many epochs, which schedule, how deep?",
    "ann_epochs",
    "An ANN on grey images of 256 x 256; test n = 400 (inferred: steps of 0.25 %); one run each.",
    (
        *(
            Row(
                {"lr_schedule": "cosine", "epochs": epochs, "depth": 4},
                _test(f"{value} %"),
                f"cosine, {epochs} epochs",
            )
            for epochs, value in zip(
                (10, 20, 30, 40, 50, 60), ("75", "69.5", "68", "80", "74.5", "71.5"), strict=True
            )
        ),
        *(
            Row(
                {"lr_schedule": "step", "epochs": 40, "depth": blocks},
                _test(f"{value} %"),
                f"StepLR, 40 epochs, depth {4 * blocks}",
            )
            for blocks, value in ((4, "75"), (5, "73.5"), (6, "74.25"))
        ),
    ),
    (
        Claim("the learning-rate schedule matters most (75 or 80 % at 40 epochs)", "lr_schedule"),
        Claim("the number of epochs comes next (68 to 80 %)", "epochs"),
        Claim("depth matters least (73.5 to 75 %)", "depth"),
    ),
)

LOSS_AND_BATCH = Report(
    "B",
    "Which loss, which batch size, which learning rate?",
    "loss_and_batch",
    "An ANN, 30 epochs, Adam; test n = 400 (inferred); one run each. Learning rates: ours.",
    (
        Row({"loss": "bce", "batch_size": 32, "lr": 1e-3, "width": "64-64-64-64"},
            _test("71.5 %"), "BCE"),
        Row({"loss": "cross_entropy", "batch_size": 32, "lr": 1e-3}, _test("100 % (??)"),
            "cross-entropy", "an unnoticed error in its evaluation"),
        Row({"loss": "bce", "batch_size": 128, "lr": 1e-3}, _test("72.25 %"), "batch 128"),
        Row({"loss": "bce", "batch_size": 16, "lr": 1e-3}, _test("74 %"), "batch 16"),
        Row({"loss": "bce", "batch_size": 2}, _test("(curves only)"), "batch 2"),
        Row({"loss": "bce", "width": "64-64-64-64-256-128"}, _test("72 %"), "two more blocks"),
    ),
    (
        Claim("cross-entropy is better than BCE (100 against 71.5 %)", "loss",
              {"loss": "cross_entropy"}, {"loss": "bce"}),
        Claim("a batch of 16 is better than one of 128 (74 against 72.25 %)", "batch_size",
              {"batch_size": 16}, {"batch_size": 128}),
        Claim("two more blocks are better (72 against 71.5 %)", "width",
              {"width": "64-64-64-64-256-128"}, {"width": "64-64-64-64"}),
        Claim("no claim about the learning rate, which is searched here", "lr"),
    ),
    ("batch_size", "lr"),
)  # fmt: skip

WEIGHTS_AND_BATCH = Report(
    "C",
    "IMAGENET1K_V1 or V2, which batch size, frozen or not?",
    "weights_and_batch",
    "torchvision's resnext50_32x4d, six classes; validation n = 600 (inferred); one run each.",
    (
        _resnext("V1", 32, 50, "28 (0.2404)", "92.83", "93.5", "16:15"),
        _resnext("V1", 64, 35, "30 (0.2262)", "93.17", "93.3", "11:17"),
        _resnext("V1", 128, 50, "34 (0.2720)", "93.5", "94", "16:13",
                 note="87.5 in a later table, a copying slip"),
        _resnext("V2", 128, 40, "35 (0.1656)", "97", "95.3", "13:04"),
        _resnext("V2", 32, 40, "16 (0.1789)", "94.83", "94.3", "13:10"),
        _resnext("V2", 32, 60, "8 (0.2053)", "94.6", "94.83", "19:45"),
        _resnext("V2", 128, 40, "37 (0.3975)", "86.33", "85.6", "4:15", "backbone"),
        _resnext("V2", 128, 100, "32 (0.3996)", "86.33", "86.33", "16:15", "backbone",
                 "time as printed"),
        _resnext("V1", 128, 100, "52 (0.3184)", "88.83", "87.5", "14:53", "backbone",
                 "batch 32 in a later table"),
    ),
    (
        Claim("V2 is far better than V1 (95.3 against 94 %)", "weights",
              {"weights": "IMAGENET1K_V2"}, {"weights": "IMAGENET1K_V1"}),
        Claim("fine-tuning is better than frozen features", "freeze",
              {"freeze": "none"}, {"freeze": "backbone"}),
        Claim("a batch of 128 is better than one of 32 (V1: 94 against 93.5 %)", "batch_size",
              {"batch_size": 128}, {"batch_size": 32}),
    ),
)  # fmt: skip

FINETUNE_OR_FEATURES = Report(
    "D",
    "Fine-tuning, or a fixed feature extractor?",
    "finetune_or_features",
    "resnet18 and squeezenet, pretrained, 10 epochs, images of 224 x 224; one run each.",
    (
        Row({"model": "resnet18", "freeze": "none"},
            {"test accuracy": "91.09 %", "test loss": "0.3518"}, "resnet18, fine-tuned"),
        Row({"model": "resnet18", "freeze": "backbone_bn", "augment": "jitter"},
            {"test accuracy": "84.43 %", "test loss": "0.3584"}, "resnet18, fixed",
            "its BatchNorm presumably kept adapting"),
        Row({"model": "squeezenet1_0", "freeze": "none"},
            {"test accuracy": "88.28 %", "test loss": "0.3308"}, "squeezenet, fine-tuned"),
        Row({"model": "squeezenet1_0", "freeze": "backbone", "augment": "jitter"},
            {"test accuracy": "89.43 %", "test loss": "0.2952"}, "squeezenet, fixed"),
        Row({}, {"test accuracy": "83.93 %", "test loss": "0.3490"}, "an earlier homework's model",
            "the report does not say what it is"),
    ),
    (
        Claim("SqueezeNet is better fixed than fine-tuned (89.43 against 88.28 %)", "freeze",
              {"freeze": "backbone"}, {"freeze": "none"}),
        Claim("resnet18 is better than squeezenet, both fine-tuned (91.09 against 88.28 %)",
              "model", {"model": "resnet18"}, {"model": "squeezenet1_0"}),
    ),
)  # fmt: skip

_CNN = {"model": "cnn", "width": "32-32-32", "head_width": 32}

ANN_CNN_GAP = Report(
    "E",
    "A dense network, a CNN, global average pooling; and dropout",
    "ann_cnn_gap",
    "Grey images of 256 x 256, 30 epochs; validation only, no test set; one or two runs each.",
    (
        Row({**_CNN, "dropout": 0.0},
            {"train": "100 %", "validation": "95 and 97 %", "time": "1:13"},
            "CNN", "two figures for one network"),
        Row({**_CNN, "dropout": 0.6}, {"train": "97 %", "validation": "97 %", "time": "-"},
            "CNN with dropout"),
        Row({"model": "ann"}, {"train": "92 %", "validation": "94 %", "time": "0:35"}, "ANN"),
        Row({"model": "cnn_gap", "width": "32-32-32"},
            {"train": "-", "validation": "below 90 %", "time": "-"}, "CNN-GAP"),
        Row({"model": "cnn_gap", "width": "32-32-128"},
            {"train": "-", "validation": "about 93 %", "time": "-"}, "CNN-GAP, wider"),
    ),
    (
        Claim("dropout makes the CNN better (97 against 95 %)", "configuration",
              {"model": "cnn", "dropout": 0.6}, {"model": "cnn", "dropout": 0.0}),
        Claim("the CNN is better than the ANN (95 to 97 against 94 %)", "configuration",
              {"model": "cnn", "dropout": 0.0}, {"model": "ann"}),
        Claim("the wider CNN-GAP is better than the narrow one (93 against below 90 %)",
              "configuration", {"model": "cnn_gap", "width": "32-32-128"},
              {"model": "cnn_gap", "width": "32-32-32"}),
        Claim("the CNN is better than CNN-GAP (95 against below 90 %)", "configuration",
              {"model": "cnn", "dropout": 0.0}, {"model": "cnn_gap", "width": "32-32-32"}),
    ),
)  # fmt: skip

REPORTS = (ANN_EPOCHS, LOSS_AND_BATCH, WEIGHTS_AND_BATCH, FINETUNE_OR_FEATURES, ANN_CNN_GAP)
