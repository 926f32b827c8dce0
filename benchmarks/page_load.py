"""How soon is the report of a large study there, in headless Chromium?

    python benchmarks/page_load.py

Writes a study of 500 trials and 60 epochs by hand, its report, and opens that five times: first
paint, and the moment at which the last plot is drawn. Needs Chromium and the tests' packages.

Wanted: less than 6 MB, drawn within 2 s.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright
from sides import head, row, tell_load

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.analysis.page.test_page_in_browser import CHROMIUM  # noqa: E402
from tests.analysis.study_factory import made_study  # noqa: E402
from tune_bio.analysis.conclusions import derive_conclusions  # noqa: E402
from tune_bio.analysis.page.write_page import write_page  # noqa: E402
from tune_bio.analysis.study_records import read_study  # noqa: E402
from tune_bio.records.tables import read_predictions  # noqa: E402

PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
DRAWN = "Number(document.documentElement.dataset.drawn)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few trials, opened once")
    quick = parser.parse_args().quick
    trials, epochs, times = (10, 5, 1) if quick else (500, 60, 5)
    tell_load()
    with tempfile.TemporaryDirectory() as scratch:
        folder = made_study(Path(scratch) / "study", trials=trials, epochs=epochs, confirmed=2)
        study = read_study(folder)
        conclusions = derive_conclusions(study, read_predictions(folder))
        write_page(study, conclusions, folder)  # imports what it needs
        began = time.perf_counter()
        page = write_page(study, conclusions, folder)
        wrote, size = time.perf_counter() - began, page.stat().st_size
        found = [_open(page) for _ in range(times)]
    painted, drawn = (statistics.median(values) / 1000 for values in zip(*found, strict=True))
    head("trials", "epochs", "MB", "written, s", "first paint, s", "every plot drawn, s")
    cells = (f"{size / 1e6:.1f}", *(f"{each:.2f}" for each in (wrote, painted, drawn)))
    row(trials, epochs, *cells)


def _open(page: Path) -> tuple[float, float]:
    """First paint and the last plot, in milliseconds since the page was asked for."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        opened = browser.new_page(viewport={"width": 1280, "height": 800})
        opened.goto(page.as_uri())
        opened.wait_for_selector("html[data-drawn]", state="attached")
        found = opened.evaluate(PAINT), opened.evaluate(DRAWN)
        browser.close()
    return found


if __name__ == "__main__":
    main()
