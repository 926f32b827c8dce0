"""IMAGENET1K_V1 or V2? Which batch size? How many epochs? Frozen or not? (A ResNeXt course report.)

The command: python -m tune_bio.search search_spaces/weights_and_batch.py

On 960 real chest radiographs for training, at 64 px, for 3 epochs, under two seeds, with
SqueezeNet, whose weights were available (`--data DIR --image-size 64 --max-epochs 3 --replicates 2
--set model=squeezenet1_0 --set weights=IMAGENET1K_V1`): 2 minutes on 2 busy cores; best validation
accuracy fine-tuned 0.922, frozen 0.901. The whole grid needs a GPU: the report's nine runs took two
hours, and the grid has 360 epochs of fine-tuning and 180 from scratch per seed (`--image-size
224`).

The report ran nine of these combinations by hand. Here, all of them form a grid, each under three
seeds, so that values can be compared one at a time. The learning rate does not depend on the number
of epochs, so all lengths of a setting are one training, with one row per length. The output of the
frozen `backbone` is computed once for all trials and epochs; the report's frozen runs computed the
whole forward pass in each of 100 epochs. If the weights of V1 or V2 are unavailable, their rows are
marked "not run" in the tables. `none` (random weights) is added here as the baseline of
pretraining.

The number of classes is that of the data: six by default, as in the report. Not in the report, and
chosen here: cross-entropy, Adam, lr 1e-4 for fine-tuning and 1e-3 for heads, the transform (images
at their own size).
"""

from tune_bio import SearchSettings, Trial

SETTINGS = SearchSettings(
    data="phantom:6",
    metric="val_accuracy",
    searcher="grid",
    scheduler="none",
    finalists="all",
    replicates=3,
    max_epochs=100,
)


def search_space(trial: Trial) -> None:
    trial.suggest_categorical("model", ["resnext50_32x4d"])
    weights = trial.suggest_categorical("weights", ["IMAGENET1K_V1", "IMAGENET1K_V2", "none"])
    trial.suggest_categorical("batch_size", [32, 64, 128])
    freeze = "none"
    if weights != "none":
        freeze = trial.suggest_categorical("freeze", ["none", "backbone"])
    heads = freeze == "backbone"
    trial.suggest_categorical("lr", [1e-3] if heads else [1e-4])
    trial.suggest_categorical("epochs", [40, 100] if heads else [35, 40, 50, 60])
