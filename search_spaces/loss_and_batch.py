"""BCE or cross-entropy? Which batch size? Does a large batch need a large lr? (A course report.)

The command: python -m tune_bio.search search_spaces/loss_and_batch.py

On 960 real chest radiographs for training, at 32 px, for 6 epochs, under two seeds (`--data DIR
--image-size 32 --max-epochs 6 --replicates 2`): 2 minutes on 2 busy cores. BCE 0.906 and
cross-entropy 0.902 (best validation accuracy; differences of 1.6 points would be detected). With a
batch of 2, and with the deeper network, 6 epochs were too few to do better than always predicting
the larger class. At 256 px for 30 epochs, a dry run estimates 17 minutes per seed on them.

Batch size and learning rate are searched together, because the best value of one may depend on the
other. Both losses are evaluated in the same way: for either objective, the validation loss is the
negative log-likelihood of the class probabilities, and accuracy is that of the most probable class.
The report shows "100 % (??)" with cross-entropy; nothing indicated that this was an error.
`seconds_per_epoch`, `epochs_to_plateau` and `val_loss_jitter` of trials.parquet answer its
questions about speed, convergence and oscillation.

From the report: 30 epochs, Adam, a constant lr, batches of 2, 16 and 128, and a deeper network with
two more blocks, 64-256-128. Not in the report, and chosen here: the base network (four blocks of
64), its batch (32), its dropout (0.5, as in the deeper network), and the learning rates.
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

BASE, DEEPER = "64-64-64-64", "64-64-64-64-256-128"
BASE_BATCH, BASE_LR = 32, 1e-3


def search_space(trial: Trial) -> None:
    trial.suggest_categorical("model", ["ann"])
    trial.suggest_categorical("dropout", [0.5])
    loss = trial.suggest_categorical("loss", ["bce", "cross_entropy"])
    # As in the report, only one value is changed where it is most expensive: a batch of 2 takes
    # sixteen times the steps of the base, so it is trained at one learning rate only.
    batches = [2, 16, BASE_BATCH, 128] if loss == "bce" else [16, BASE_BATCH, 128]
    batch = trial.suggest_categorical("batch_size", batches)
    rates = [3e-4, BASE_LR, 3e-3] if batch > 2 else [BASE_LR]
    lr = trial.suggest_categorical("lr", rates)
    at_base = (loss, batch, lr) == ("bce", BASE_BATCH, BASE_LR)
    trial.suggest_categorical("width", [BASE, DEEPER] if at_base else [BASE])
