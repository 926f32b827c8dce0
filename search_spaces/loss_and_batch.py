"""BCE or cross-entropy, which batch size; does a large batch want a large lr? (A course report.)

The command: python -m tune_bio.search search_spaces/loss_and_batch.py

On 960 real chest radiographs for training, at 32 px, for 6 epochs, under two seeds (`--data DIR
--image-size 32 --max-epochs 6 --replicates 2`): 2 minutes on 2 busy cores. BCE 0.906 and
cross-entropy 0.902 (best validation accuracy; 1.6 points would be seen); the batch of 2 and the
deeper network did not get beyond the larger class so soon. At 256 px for 30 epochs a dry run
estimates 17 minutes a seed there.

Batch size and learning rate are searched together, since the best of one may depend on the other.
Both losses go through one evaluation: whatever is trained, a validation loss is the negative
log-likelihood of the class probabilities, and accuracy is that of the most probable class. The
report read "100 % (??)" under cross-entropy, and nothing told it that this was a fault.
`seconds_per_epoch`, `epochs_to_plateau` and `val_loss_jitter` of trials.parquet answer what it
asked of speed, convergence and oscillation.

As the report has it: 30 epochs, Adam, a fixed lr, batches of 2, 16 and 128, and a deeper network
with two more blocks, 64-256-128. Not given there, and ours: the base (four blocks of 64), its
batch (32), its dropout (that of the deeper network, 0.5), and the learning rates.
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
    # As in the report, one thing is changed at a time where it costs most: the batch of 2 has
    # sixteen times the steps of the base, and is trained at one learning rate alone.
    batches = [2, 16, BASE_BATCH, 128] if loss == "bce" else [16, BASE_BATCH, 128]
    batch = trial.suggest_categorical("batch_size", batches)
    rates = [3e-4, BASE_LR, 3e-3] if batch > 2 else [BASE_LR]
    lr = trial.suggest_categorical("lr", rates)
    at_base = (loss, batch, lr) == ("bce", BASE_BATCH, BASE_LR)
    trial.suggest_categorical("width", [BASE, DEEPER] if at_base else [BASE])
