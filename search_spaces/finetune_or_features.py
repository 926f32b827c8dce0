"""Fine-tuning, or a fixed feature extractor? (A course report on ResNet-18 and SqueezeNet.)

The command: python -m tune_bio.search search_spaces/finetune_or_features.py

On 960 real chest radiographs for training, at 64 px and under one seed, with SqueezeNet, whose
weights were available (`--data DIR --set resize=73 --set crop=64 --replicates 1`): under 3 minutes
on 2 busy cores; best validation accuracy fine-tuned 0.969, fixed 0.944 and 0.947. At 224 px, a dry
run estimates 20 minutes per seed on them.

The report's word "fixed" has two meanings, which are distinguished here: `backbone` (BatchNorm is
fixed too) and `backbone_bn` (only `requires_grad = False`: BatchNorm continues to adapt; SqueezeNet
has none). Heads are trained with jitter, as in the report, and without. Without jitter, each image
is the same in every epoch, and its features are computed once; with jitter, the frozen network sees
new images in every epoch, and nothing can be reused.

From the report: 10 epochs; images resized to 256 x 256, center-cropped to 224 x 224, normalised as
for ImageNet, with jitter of brightness and contrast (its jitter of saturation and hue has no effect
on grey images); lr 1e-4, weight decay 2e-3 and dropout 0.5, which it states only for the fine-tuned
ResNet-18. Not in the report, and chosen here: Adam, batch 32, and an lr of 1e-3 for heads.
"""

from tune_bio import SearchSettings, Trial

SETTINGS = SearchSettings(
    data="phantom",
    metric="val_accuracy",
    searcher="grid",
    scheduler="none",
    finalists="all",
    replicates=3,
    max_epochs=10,
)


def search_space(trial: Trial) -> None:
    model = trial.suggest_categorical("model", ["resnet18", "squeezenet1_0"])
    trial.suggest_categorical("weights", ["IMAGENET1K_V1"])
    extractors = ["backbone", "backbone_bn"] if model == "resnet18" else ["backbone"]
    fixed = trial.suggest_categorical("freeze", ["none", *extractors]) != "none"
    trial.suggest_categorical("lr", [1e-3] if fixed else [1e-4])
    trial.suggest_categorical("augment", ["jitter", "none"] if fixed else ["jitter"])
    trial.suggest_categorical("weight_decay", [2e-3])
    trial.suggest_categorical("dropout", [0.5])
    trial.suggest_categorical("batch_size", [32])
    trial.suggest_categorical("resize", [256])
    trial.suggest_categorical("crop", [224])
