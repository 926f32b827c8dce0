"""A dense network, a CNN, or a CNN with global average pooling? With dropout? (A course report.)

The command: python -m tune_bio.search search_spaces/ann_cnn_gap.py

On 960 real chest radiographs for training, at 32 px, for 10 epochs, under two seeds (`--data DIR
--image-size 32 --max-epochs 10 --replicates 2`): 2 minutes on 2 busy cores; best validation
accuracy CNN 0.947, with dropout 0.939, CNN-GAP 0.894, wider 0.903, ANN 0.886; differences of 8.9
points would be detected. At 256 px for 30 epochs, a dry run estimates 64 minutes per seed on them.

Each network is trained under three seeds: the report's gain from dropout was as large as the
difference between two runs of one of its networks. `generalization_gap` measures overfitting, which
the report judged by eye; every row has parameters and multiply-adds, so that networks can be
compared at equal cost.

From the report: BCE, batch 32, 30 epochs, Adam, lr 1e-3, StepLR(10, 0.1), and the widths, dropouts
and heads below. It had no test set.
"""

from tune_bio import SearchSettings, Trial

SETTINGS = SearchSettings(
    data="phantom",
    metric="val_accuracy",
    searcher="grid",
    scheduler="none",
    finalists="all",
    replicates=3,
    max_epochs=30,
)


def search_space(trial: Trial) -> None:
    model = trial.suggest_categorical("model", ["ann", "cnn", "cnn_gap"])
    if model == "ann":
        trial.suggest_categorical("width", ["512-256-256"])
        trial.suggest_categorical("dropout", ["0.9-0.9-0.8"])
    elif model == "cnn":
        trial.suggest_categorical("width", ["32-32-32"])
        trial.suggest_categorical("head_width", [32])
        trial.suggest_categorical("dropout", [0.0, 0.6])
    else:
        wider = trial.suggest_categorical("width", ["32-32-32", "32-32-128"]) == "32-32-128"
        trial.suggest_categorical("head_width", [128 if wider else 0])
        trial.suggest_categorical("dropout", [0.0])
    trial.suggest_categorical("loss", ["bce"])
    trial.suggest_categorical("batch_size", [32])
    trial.suggest_categorical("lr", [1e-3])
    trial.suggest_categorical("lr_schedule", ["step"])
    trial.suggest_categorical("step_size", [10])
    trial.suggest_categorical("gamma", [0.1])
