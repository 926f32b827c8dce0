"""Load of the driver while trials run: its share of one core.

    python benchmarks/driver_load.py

Trials of several seconds each, two at a time. The driver's CPU seconds (all threads) are divided by
the seconds on the clock, from the start of the first trial to the end of the last. They include the
recording of every result, the tables and Tune's loop.

Target: less than 15 %, with trials that last 5 s or more.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from sides import SPACE, print_head, print_load, print_row, tune_bio, write_npz

from tune_bio.records.tables import read_trials

# A search-space file is code that runs in the command's own process, so it can read its CPU time.
RECORDING = """
import atexit, json, time
from pathlib import Path

from tune_bio.records import tables

OUTPUT = Path({output!r})
moments = []


def timed(method):
    def wrapped(*args, **kwargs):
        method(*args, **kwargs)
        moments.append((time.perf_counter(), time.process_time()))

    return wrapped


tables.Records.start_trial = timed(tables.Records.start_trial)
tables.Records.update_trial = timed(tables.Records.update_trial)
atexit.register(lambda: OUTPUT.write_text(json.dumps([moments[0], moments[-1]])))
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
    print_load()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        data = write_npz(work / "images.npz", 1000, 32)
        output = work / "moments.json"
        recording = RECORDING.replace("{output!r}", repr(str(output)))
        _, results = tune_bio(work, "driver", configs, data, space=recording + SPACE)
        (clock, cpu), (clock_end, cpu_end) = json.loads(output.read_text())
        seconds = statistics.median(read_trials(results)["seconds"])
    print_head("trials", "seconds each", "elapsed seconds", "driver's CPU seconds", "share")
    elapsed, used = clock_end - clock, cpu_end - cpu
    print_row(trials, f"{seconds:.1f}", f"{elapsed:.1f}", f"{used:.2f}", f"{used / elapsed:.1%}")


if __name__ == "__main__":
    main()
