"""Takes the pictures of the documentation from a finished study.

    python -m tune_bio.search search_spaces/transfer.py
    python docs/make_pictures.py results/transfer

The study is the default one, on synthetic images. Needs Chromium (`apt-get install chromium`).
"""

import argparse
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURES = Path(__file__).with_name("pictures")
WIDTH, HEIGHT = 900, 1120  # pixels


def main() -> None:
    """Take a picture of the top of the study's report."""
    parser = argparse.ArgumentParser(description="Pictures of the documentation.")
    parser.add_argument("results", type=Path, help="the folder of a finished study")
    report = parser.parse_args().results.resolve() / "report.html"
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("there is no Chromium: install it with `apt-get install chromium`")
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(report.as_uri())
        page.screenshot(path=PICTURES / "report.png")
        browser.close()


if __name__ == "__main__":
    main()
