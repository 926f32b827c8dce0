"""report.html in headless Chromium: sorting, filters, marks, layout, and its policy."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.analysis.study_factory import make_study
from tune_bio.analysis.conclusions import derive_conclusions
from tune_bio.analysis.figures.draw_all import save_figures
from tune_bio.analysis.page.write_page import write_comparison, write_page
from tune_bio.analysis.study_records import read_study
from tune_bio.records.tables import read_predictions

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
HOSTILE = "<script>alert(1)</script>"
NARROW = 360

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium (apt-get install chromium)"),
]
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a report on 12 trials, one of which failed, with a class named like a script."""
    folder = make_study(
        tmp_path_factory.mktemp("study") / "study",
        trials=12, failed=1, confirmed=1, classes=("well", HOSTILE), left_out=[HOSTILE],
    )  # fmt: skip
    study = read_study(folder)
    save_figures(study, folder / "figures")
    return write_page(study, derive_conclusions(study, read_predictions(folder)), folder)


@pytest.fixture
def opened(browser: Browser, report: Path) -> Iterator[Open]:
    """Open pages; at the end, assert that they raised no errors and requested nothing."""
    faults: list[str] = []
    pages: list[Page] = []

    def open_page(path: Path = report, width: int = 1280, **options: Any) -> Page:
        page = browser.new_page(viewport={"width": width, "height": 800}, **options)
        pages.append(page)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "console",
            lambda message: faults.append(message.text) if message.type == "error" else None,
        )
        page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith(("file:", "data:")) else faults.append(request.url)
            ),
        )
        page.goto(path.as_uri())
        if page.locator("#plots").count():
            page.wait_for_selector("html[data-drawn]", state="attached")
        return page

    yield open_page
    for page in pages:
        page.close()
    assert faults == []


def names(page: Page) -> list[str]:
    """Return the trials that are shown, in order."""
    return page.locator("#board tbody tr:visible th").all_inner_texts()


def marked_in_plots(page: Page) -> list[int]:
    """Return the trials that are selected in Bokeh; they must be the same in all plots."""
    selections: list[list[int]] = page.evaluate(
        """() => Bokeh.documents.map(
            (doc) => doc.roots()[0].renderers[0].data_source.selected.indices)"""
    )
    assert len(selections) > 3
    assert all(indices == selections[0] for indices in selections)
    return selections[0]


def test_plots_are_drawn_with_a_panel_for_each_hyperparameter(opened: Open) -> None:
    page = opened()
    assert page.locator("#curve-plot canvas").count() > 0
    panels = page.locator("#panels > div").count()
    assert panels == len(
        page.evaluate("JSON.parse(document.getElementById('plots').textContent).panels")
    )
    assert page.locator("#panels canvas").count() >= panels
    drawn = page.evaluate("document.documentElement.dataset.drawn")
    page.select_option("#curve", "val_loss")
    page.wait_for_selector(f"html:not([data-drawn='{drawn}'])", state="attached")
    labels = page.evaluate("Bokeh.documents.map((doc) => doc.roots()[0].left[0].axis_label)")
    assert labels == ["validation loss", *["validation AUROC"] * panels]
    assert page.locator("figure.static:visible").count() == 0


def test_headings_sort_and_show_the_order(opened: Open) -> None:
    page = opened()
    assert names(page)[0] == "t0010"
    assert names(page)[-1] == "t0011", "it failed"
    head = page.locator("#board thead th", has_text="validation AUROC")
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert names(page)[:2] == ["t0010", "t0009"]
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert names(page)[:2] == ["t0000", "t0001"]
    assert names(page)[-1] == "t0011", "trials without a score are last in either order"
    rates = page.locator("#board thead th", has_text="lr")
    rates.locator("button").click()
    assert head.get_attribute("aria-sort") == "none"
    column = page.locator("#board thead th").all_inner_texts().index(rates.inner_text())
    values = page.locator(f"#board tbody td:nth-child({column + 1})").all_inner_texts()
    assert sorted(map(float, values), reverse=True) == list(map(float, values))


def test_words_and_the_status_filter(opened: Open) -> None:
    page = opened()
    page.fill("#filter", "cnn_gap completed")
    assert set(names(page)) == {"t0001", "t0004", "t0007", "t0010"}
    assert page.inner_text("#shown") == "4 of 12 trials"
    shown = page.evaluate("Bokeh.documents[0].roots()[0].renderers[0].view.filter.booleans")
    assert sum(shown) == 4
    page.fill("#filter", "")
    page.select_option("#status", "failed")
    assert names(page) == ["t0011"]
    page.fill("#filter", "no such thing")
    assert names(page) == []


def test_everything_works_by_keyboard(opened: Open) -> None:
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["y"] >= 0, "the link is visible"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.focus("#filter")
    for _ in range(3):  # past the status, and the table's region (nothing is marked yet)
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('th').ariaSort") == "none"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "the focus is visible"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.closest('th').ariaSort") == "ascending"
    page.focus("#board tbody tr:nth-child(2) button")
    page.keyboard.press("Space")
    assert page.evaluate("document.activeElement.ariaPressed") == "true"


def test_marking_a_trial_marks_it_in_every_plot_and_back(opened: Open) -> None:
    page = opened()
    page.click("#board tbody tr:nth-child(3) th button")
    page.click("#board tbody tr:nth-child(1) th button")
    assert sorted(marked_in_plots(page)) == [0, 2]
    page.click("#unmark")
    assert marked_in_plots(page) == []
    assert page.locator("tr.marked").count() == 0
    page.evaluate("Bokeh.documents[1].roots()[0].renderers[0].data_source.selected.indices = [4]")
    assert page.locator("tr.marked").get_attribute("data-row") == "4"
    assert marked_in_plots(page) == [4]


def test_a_class_named_like_a_script_is_escaped(opened: Open) -> None:
    page = opened()
    assert HOSTILE in page.inner_text("#answer")
    assert HOSTILE in page.inner_text("#data")
    assert page.locator("script").count() == 5, "four scripts, and the data of the plots"


def test_no_other_script_could_run(browser: Browser, report: Path, tmp_path: Path) -> None:
    spoiled = tmp_path / "spoiled.html"
    added = "<script>window.ran = 1</script><img src=x onerror='window.ran = 1'></main>"
    spoiled.write_text(report.read_text().replace("</main>", added))
    page = browser.new_page()
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.goto(spoiled.as_uri())
    page.wait_for_selector("html[data-drawn]", state="attached")
    assert page.evaluate("window.ran") is None
    assert any("Content Security Policy" in text for text in messages)
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_exceeds_a_narrow_screen(opened: Open, scheme: str) -> None:
    page = opened(width=NARROW, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == NARROW
    wide = page.evaluate(
        """() => [...document.querySelectorAll("main *")]
            .filter((element) => !element.closest(".scroll, pre, .hidden, svg"))
            .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
            .map((element) => element.tagName + "." + element.className)"""
    )
    assert wide == []
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")


def test_on_a_touch_screen_a_drag_over_a_plot_scrolls_the_page(opened: Open) -> None:
    drags = """() => Bokeh.documents.map((doc) => doc.roots()[0].toolbar.active_drag?.type)"""
    assert set(opened().evaluate(drags)) == {"BoxZoomTool"}
    assert set(opened(width=NARROW, has_touch=True, is_mobile=True).evaluate(drags)) == {None}


def test_in_print_figures_replace_the_plots(opened: Open) -> None:
    page = opened()
    page.emulate_media(media="print")
    assert page.locator("figure.static:visible").count() == 2
    assert page.locator("#curve-plot:visible, form:visible, nav:visible").count() == 0


def test_without_scripts_the_page_is_complete(browser: Browser, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator("figure.static:visible").count() == 2
    assert page.locator("form:visible").count() == 0
    assert len(names(page)) == 12
    context.close()


def test_a_study_without_a_score_opens(opened: Open, tmp_path: Path) -> None:
    folder = make_study(tmp_path / "study", trials=2, failed=2)
    study = read_study(folder)
    path = write_page(study, derive_conclusions(study, read_predictions(folder)), folder)
    page = opened(path)
    assert "There is no answer" in page.inner_text("#answer")
    assert names(page) == ["t0000", "t0001"]


def test_a_large_study_opens_and_sorts(opened: Open, large_page: Path) -> None:
    page = opened(large_page)
    assert len(names(page)) == 500
    page.click("#board thead th:nth-child(2) button")
    page.click("#board thead th:nth-child(2) button")
    assert names(page)[0] == "t0000"
    assert page.evaluate("document.documentElement.scrollWidth") == 1280


def test_studies_side_by_side_fit_a_narrow_screen(opened: Open, tmp_path: Path) -> None:
    studies = {}
    for name in ("one", "two", "three"):
        study = read_study(make_study(tmp_path / name, confirmed=1))
        studies[name] = study, derive_conclusions(study, read_predictions(tmp_path / name))
    page = opened(write_comparison(studies, tmp_path / "comparison.html"), width=NARROW)
    assert page.evaluate("document.documentElement.scrollWidth") == NARROW
    assert page.locator("figure img:visible").count() == 1
