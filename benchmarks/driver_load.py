"""How busy the driver is while trials run: its share of one core.

    python benchmarks/driver_load.py

Trials of a network that last several seconds each, two at a time. From the first trial's start to
the last one's end, the driver's CPU seconds (all of its threads) over those on the clock. The
recording of every result, the tables and Tune's loop are in it.

Wanted: less than 15 %, with trials that last 5 s and more.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from sides import SPACE, head, row, tell_load, tune_bio, write_npz

from tune_bio.records.tables import read_trials

# A search-space file is code that runs in the command's own process, so it can look at its clock.
LOOKING = """
import atexit, json, time
from pathlib import Path

from tune_bio import records

TOLD = Path({told!r})
moments = []


def noted(method):
    def wrapped(*arguments, **values):
        method(*arguments, **values)
        moments.append((time.perf_counter(), time.process_time()))

    return wrapped


records.Records.start_trial = noted(records.Records.start_trial)
records.Records.update_trial = noted(records.Records.update_trial)
atexit.register(lambda: TOLD.write_text(json.dumps([moments[0], moments[-1]])))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="The driver's share of a core.")
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--quick", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    trials, epochs = (2, 2) if arguments.quick else (arguments.trials, arguments.epochs)
    configs = [
        {"model": "cnn", "width": "16-32-64", "epochs": epochs, "lr": 1e-3 * (1 + number / 100)}
        for number in range(trials)
    ]
    tell_load()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        data = write_npz(work / "images.npz", 1000, 32)
        told = work / "told.json"
        looking = LOOKING.replace("{told!r}", repr(str(told)))
        _, results = tune_bio(work, "driver", configs, data, space=looking + SPACE)
        (clock, computed), (clock_end, computed_end) = json.loads(told.read_text())
        seconds = statistics.median(read_trials(results)["seconds"])
    head("trials", "seconds each", "seconds on the clock", "driver's CPU seconds", "share")
    passed, used = clock_end - clock, computed_end - computed
    row(trials, f"{seconds:.1f}", f"{passed:.1f}", f"{used:.2f}", f"{used / passed:.1%}")


if __name__ == "__main__":
    main()
