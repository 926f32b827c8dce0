"""report.html: its content, and that it runs and loads nothing but its own scripts."""

import base64
import hashlib
import json
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.analysis.study_factory import make_study
from tune_bio.analysis.conclusions import derive_conclusions
from tune_bio.analysis.figures.draw_all import save_figures
from tune_bio.analysis.page.markdown_html import block, inline
from tune_bio.analysis.page.rendering import as_json
from tune_bio.analysis.page.rerun_command import command_of
from tune_bio.analysis.page.sections import sections
from tune_bio.analysis.page.write_page import write_comparison, write_page
from tune_bio.analysis.study_records import read_study
from tune_bio.analysis.summary.summary import summary_parts
from tune_bio.console.search_options import search_parser
from tune_bio.records.manifest_file import read_manifest
from tune_bio.records.tables import read_predictions

HOSTILE = "<script>alert(1)</script>"
LARGEST = 6_000_000  # bytes, for a study of 500 trials and 60 epochs


class Page(HTMLParser):
    """Texts by section, scripts and their data, and every address on the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sections: dict[str, str] = {}
        self.scripts: list[str] = []
        self.data: dict[str, Any] = {}
        self.addresses: list[str] = []
        self.policy = ""
        self._section, self._inside, self._id = "", "", ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self._inside = tag
        self._id = values.get("id") or ""
        if tag == "section":
            self._section = self._id
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"] or ""
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""
        if tag == "section":
            self._section = ""

    def handle_data(self, text: str) -> None:
        if self._inside == "script" and self._id:
            self.data[self._id] = json.loads(text)
        elif self._inside == "script":
            self.scripts.append(text)
        else:
            self.sections[self._section] = self.sections.get(self._section, "") + text


def write_and_parse(folder: Path) -> tuple[str, Page]:
    study = read_study(folder)
    path = write_page(study, derive_conclusions(study, read_predictions(folder)), folder)
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


def test_question_answer_and_command_of_a_confirmed_study(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "study", confirmed=2, left_out=["resnet18: a reason"])
    _, page = write_and_parse(folder)
    assert "Which of them is best?" in page.sections[""]
    answer = page.sections["answer"]
    assert "Of 6 configurations" in answer
    assert "(t0005) is best" in answer
    assert "On the test set, opened once, at the end" in answer
    assert "an AUROC of 0.810 (0.760 to 0.860)" in answer
    assert "the next best configuration on the test set" in answer
    assert "python -m tune_bio.search space.py --num-trials 6" in page.sections["again"]
    assert "resnet18: a reason" in page.sections["omissions"]
    assert "Noise floor." in page.sections["conclusions"]
    assert "t0005r" in page.sections["metrics"]
    assert "t0005" in page.sections["confirmation"]
    assert page.sections["methods"].count("Partition.") == 1


def test_the_leaderboard_lists_all_trials_from_the_best_and_plots_have_the_same_order(
    tmp_path: Path,
) -> None:
    text, page = write_and_parse(make_study(tmp_path / "study", trials=7, failed=2))
    rows = re.findall(r'aria-pressed="false">(t\d+)<', text)
    assert rows == ["t0004", "t0003", "t0002", "t0001", "t0000", "t0005", "t0006"]
    plots = page.data["plots"]
    assert plots["trials"] == rows
    assert plots["score"][5:] == [None, None]
    assert [len(curve) for curve in plots["curves"]["val_auroc"]] == [4] * 5 + [0, 0]
    study = read_study(tmp_path / "study")
    curve = study.epochs[study.epochs["trial_id"] == "t0004"].sort_values("epoch")["val_loss"]
    assert plots["curves"]["val_loss"][0] == pytest.approx(curve.tolist(), rel=1e-3)
    assert {"model", "lr", "batch_size"} < {panel["name"] for panel in plots["panels"]}


def test_nothing_is_loaded_and_no_other_script_runs(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "study", confirmed=1)
    save_figures(read_study(folder), folder / "figures")
    _, page = write_and_parse(folder)
    assert len(page.addresses) > 5
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    directives = dict(part.strip().split(" ", 1) for part in page.policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert "unsafe" not in directives["script-src"]
    digests = [hashlib.sha256(script.encode()).digest() for script in page.scripts]
    assert directives["script-src"].split() == [
        f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests
    ]
    assert len(digests) == 4


def test_foreign_texts_are_escaped(tmp_path: Path) -> None:
    folder = make_study(
        tmp_path / "study",
        classes=("well", HOSTILE),
        confirmed=1,
        failed=1,
        name=HOSTILE,
        question=f"Which? {HOSTILE} **<img src=x>**",
        left_out=[HOSTILE],
        command=["search.py", HOSTILE],
        flags=[{"kind": "one_class", "message": HOSTILE}],
        audit={"findings": [{"severity": "note", "message": HOSTILE}]},
    )
    text, page = write_and_parse(folder)
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "<b>look" not in text
    assert page.sections["answer"].count(HOSTILE) == 2, "a flag, and the name of a class"
    assert f"30 {HOSTILE}" in page.sections["data"]
    assert json.loads(page.sections["again"].partition("experiment.json")[2])["name"] == HOSTILE


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"trials": 1, "epochs": 0, "ended": False}, "There is no answer"),
        ({"trials": 0, "ended": False}, "Trials on record: none."),
        ({"trials": 3, "failed": 3}, "The reasons for failure are listed below."),
        ({"ended": False}, "This study has not ended"),
        ({"interrupted": True, "best_trial": None}, "This study was interrupted"),
        ({"trials": 1}, "The test set has not been opened."),
        ({"classes": tuple("abcdef"), "confirmed": 2}, "an AUROC of 0.810"),
    ],
)
def test_studies_of_every_state(tmp_path: Path, options: dict[str, Any], sentence: str) -> None:
    text, page = write_and_parse(make_study(tmp_path / "study", **options))
    assert sentence in page.sections["answer"]
    assert "python -m tune_bio.search" in page.sections["again"]
    assert text.count("<main") == text.count("</html>") == 1


def test_figures_are_embedded_in_order_with_unknown_ones_last(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "study")
    save_figures(read_study(folder), folder / "figures")
    drawn = (folder / "figures" / "trials_over_time.png").read_bytes()
    (folder / "figures" / "another_thing.png").write_bytes(drawn)
    (folder / "figures" / "huge.png").write_bytes(bytes(2_000_000))
    text, page = write_and_parse(folder)
    captions = page.sections["figures"]
    assert captions.index("trials_over_time.png") < captions.index("another_thing.png")
    assert "Another thing." in captions
    assert "Too large for this page: figures/huge.png" in " ".join(captions.split())
    assert text.count(base64.b64encode(drawn).decode()) == 2
    assert text.count('<figure class="static">') == 2, "stand-ins for the interactive plots"


def test_a_fully_replicated_grid_is_compared_as_a_whole(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "study", trials=4, confirmed=4)
    manifest = read_manifest(folder)
    manifest["space"]["listed"] = 4
    manifest["settings"]["finalists"] = "all"
    (folder / "experiment.json").write_text(json.dumps(manifest))
    _, page = write_and_parse(folder)
    assert "Compared as wholes: configuration " in page.sections["answer"]


@given(st.dictionaries(st.text(), st.lists(st.text(), max_size=3), max_size=3))
def test_no_text_ends_the_script_element_that_contains_it(value: object) -> None:
    text = str(as_json(value))
    assert "<" not in text
    assert json.loads(text) == value


TEXT = st.text(alphabet="ab*`<>&\"'|-#[]()!:/ \\\n")


@given(TEXT)
def test_markdown_yields_only_known_elements_and_escapes_everything_else(text: str) -> None:
    words = "strong|em|code|pre|p|ul|ol|li|h\\d|hr|br|blockquote"
    own = rf"</?({words}|table|thead|tbody|tr|th|td|div)\b[^<>]*>"
    for html in (str(inline(text)), str(block(text, "h"))):
        assert "<" not in re.sub(own, "", html)
        assert "href" not in html
        assert "src" not in html


def test_tables_of_the_summary_have_row_and_column_headings() -> None:
    html = block("| a | b |\n| --- | --- |\n| x | 0.8 (0.7 to 0.9) |\n| y | **z** |", "h-there")
    assert html.count('<th scope="col">') == 2
    assert re.findall(r'<th scope="row">(.*?)</th>', html) == ["x", "y"]
    assert '<td class="short">0.8 (0.7 to 0.9)</td>' in html
    assert 'aria-labelledby="h-there"' in html


def test_every_section_of_the_summary_is_on_the_page(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "study", confirmed=1, failed=1, left_out=["a thing"])
    study = read_study(folder)
    conclusions = derive_conclusions(study, read_predictions(folder))
    parts = [*summary_parts(study, conclusions), "## Another section\n\nIts **content**."]
    headings = re.findall("^## (.+)$", "\n\n".join(parts), re.MULTILINE)
    groups = sections(parts)
    shown = [
        section.heading for group in (groups.early, groups.middle, groups.late) for section in group
    ]
    assert sorted(shown) == sorted(set(headings) - {"Best trials of the search"})
    assert groups.early[0].heading == "Confirmation"
    assert groups.middle[-1].html == "<p>Its <strong>content</strong>.</p>\n"


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        ({"command": ["/x/search.py", "a b.py", "--resume", "--seed", "3"]}, "'a b.py' --seed 3"),
        ({"command": ["/x/bin/tune_bio", "space.py"]}, "space.py"),
        ({"command": ["ipykernel_launcher.py", "-f", "x"]}, "space.py --name study"),
    ],
)
def test_the_command_is_the_recorded_one_or_an_equivalent(
    tmp_path: Path, manifest: dict[str, Any], expected: str
) -> None:
    folder = make_study(tmp_path / "study", **manifest)
    command = command_of(read_manifest(folder))
    assert command.removeprefix("python -m tune_bio.search ").startswith(expected)
    search_parser().parse_args(shlex.split(command)[3:])


def test_a_command_is_assembled_from_settings_and_pins(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "study", command=["a_notebook"])
    manifest = read_manifest(folder)
    manifest["settings"] |= {"data": "scans/", "num_trials": 7, "controls": False}
    manifest["space"]["pinned"] = {"image_size": 32}
    options = search_parser().parse_args(shlex.split(command_of(manifest))[3:])
    assert (options.data, options.num_trials, options.controls) == ("scans/", 7, False)
    assert options.set == ["image_size=32"]


def test_studies_side_by_side(tmp_path: Path) -> None:
    folders = [
        make_study(tmp_path / "one", confirmed=1),
        make_study(tmp_path / "two", trials=3),
        make_study(tmp_path / "three", trials=2, failed=2, question=HOSTILE),
    ]
    studies = {
        folder.name: (
            study := read_study(folder),
            derive_conclusions(study, read_predictions(folder)),
        )
        for folder in folders
    }
    text = write_comparison(studies, tmp_path / "comparison.html").read_text()
    assert "<script>alert" not in text
    assert "0.810 (0.760 to 0.860)" in text
    assert "2 seeds" in text
    heads = re.findall(r'<th scope="col">(.*?)</th>', text)
    assert heads == ["", "one", "two", "three"]
    assert len(text) < 100_000, "BokehJS is not embedded without interactive plots"


def test_different_test_images_are_noted(tmp_path: Path) -> None:
    folders = [make_study(tmp_path / name) for name in ("one", "two")]
    manifest = read_manifest(folders[1])
    manifest["data"]["splits"]["test"] = {**manifest["data"]["splits"]["test"], "sha256": "00"}
    (folders[1] / "experiment.json").write_text(json.dumps(manifest))
    studies = {
        folder.name: (
            study := read_study(folder),
            derive_conclusions(study, read_predictions(folder)),
        )
        for folder in folders
    }
    text = write_comparison(studies, tmp_path / "comparison.html").read_text()
    assert "different test images" in text


def test_the_page_of_a_large_study_is_not_too_large(large_page: Path) -> None:
    assert 1_000_000 < large_page.stat().st_size < LARGEST
