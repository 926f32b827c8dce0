"""Trial names: written, parsed, and classified by kind of trial."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data_factory import examples
from tune_bio.records.trial_names import TrialName

NUMBERS = st.integers(0, 10**6)


@examples
@given(position=NUMBERS, replicate=NUMBERS, ablation=NUMBERS, resplit=NUMBERS)
def test_a_written_name_is_parsed_back(
    position: int, replicate: int, ablation: int, resplit: int
) -> None:
    name = TrialName(position, replicate, ablation, resplit)
    assert TrialName.parse(str(name)) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("t0007", TrialName(7)),
        ("t0007r2", TrialName(7, replicate=2)),
        ("t0007a1r2", TrialName(7, replicate=2, ablation=1)),
        ("t0007s2r2", TrialName(7, replicate=2, resplit=2)),
        ("t12345", TrialName(12345)),
    ],
)
def test_the_format_of_each_kind_of_name(text: str, name: TrialName) -> None:
    assert str(name) == text
    assert TrialName.parse(text) == name


@pytest.mark.parametrize("text", ["", "t", "t7", "x0007", "t0007r", "t0007r2a1", "t0007 ", "0007"])
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a trial"):
        TrialName.parse(text)


def test_names_derived_from_a_name() -> None:
    searched = TrialName(3)
    replicate = searched.under_seed(2)
    assert str(replicate) == "t0003r2"
    assert str(replicate.changed(12)) == "t0003a12r2"
    assert str(searched.on_resplit(2)) == "t0003s2r2"


def test_only_a_plain_replicate_confirms() -> None:
    names = ["t0003", "t0003r2", "t0003a1r2", "t0003s2r2"]
    assert [TrialName.parse(name).confirms for name in names] == [False, True, False, False]
    assert [TrialName.parse(name).is_searched for name in names] == [True, False, False, False]
