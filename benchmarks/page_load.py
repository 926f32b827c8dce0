"""Time to load the report of a large study in headless Chromium.

    python benchmarks/page_load.py

Writes the files of a study of 500 trials and 60 epochs and its report, and opens the report five
times: first paint, and the time at which the last plot is drawn. Needs Chromium and the packages
of the tests.

Target: less than 6 MB, drawn within 2 s.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright
from sides import print_head, print_load, print_row

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.analysis.page.test_page_in_browser import CHROMIUM  # noqa: E402
from tests.analysis.study_factory import make_study  # noqa: E402
from tune_bio.analysis.conclusions import derive_conclusions  # noqa: E402
from tune_bio.analysis.page.write_page import write_page  # noqa: E402
from tune_bio.analysis.study_records import read_study  # noqa: E402
from tune_bio.records.tables import read_predictions  # noqa: E402

PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
DRAWN = "Number(document.documentElement.dataset.drawn)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few trials, and open the report once")
    quick = parser.parse_args().quick
    trials, epochs, times = (10, 5, 1) if quick else (500, 60, 5)
    print_load()
    with tempfile.TemporaryDirectory() as scratch:
        folder = make_study(Path(scratch) / "study", trials=trials, epochs=epochs, confirmed=2)
        study = read_study(folder)
        conclusions = derive_conclusions(study, read_predictions(folder))
        write_page(study, conclusions, folder)  # the first call imports modules
        began = time.perf_counter()
        page = write_page(study, conclusions, folder)
        write_seconds, size = time.perf_counter() - began, page.stat().st_size
        timings = [_load(page) for _ in range(times)]
    painted, drawn = (statistics.median(values) / 1000 for values in zip(*timings, strict=True))
    print_head("trials", "epochs", "MB", "written, s", "first paint, s", "every plot drawn, s")
    cells = (
        f"{size / 1e6:.1f}",
        *(f"{seconds:.2f}" for seconds in (write_seconds, painted, drawn)),
    )
    print_row(trials, epochs, *cells)


def _load(page: Path) -> tuple[float, float]:
    """Return the times of first paint and of the last plot, in ms since the request."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        tab = browser.new_page(viewport={"width": 1280, "height": 800})
        tab.goto(page.as_uri())
        tab.wait_for_selector("html[data-drawn]", state="attached")
        timings = tab.evaluate(PAINT), tab.evaluate(DRAWN)
        browser.close()
    return timings


if __name__ == "__main__":
    main()
