"""The walk over a space's branches: each is visited once, and impossible ones are reported."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data_factory import examples, is_one_line
from tune_bio.errors import ConfigError, InputError, SpaceError
from tune_bio.space.branches import grid, hyperparameter_summary, walk_branches, without_unavailable
from tune_bio.space.search_space import SearchSpace
from tune_bio.space.settings import SearchSettings

# A tree is a sequence of choices; each choice is a list of branches; each branch is a tree.
Tree = list[Any]
NAMES: dict[str, list[Any]] = {
    "lr": [0.1, 0.01, 0.001],
    "batch_size": [8, 16, 32],
    "epochs": [3, 4, 5],
    "weight_decay": [0.0, 0.1, 0.2],
    "label_smoothing": [0.0, 0.1, 0.2],
    "patience": [0, 1, 2],
    "image_size": [16, 32, 64],
    "class_weights": ["none", "balanced"],
    "loss": ["bce", "cross_entropy"],
}
trees: st.SearchStrategy[Tree] = st.recursive(
    st.just([]),
    lambda inner: st.lists(st.lists(inner, min_size=1, max_size=3), min_size=1, max_size=2),
    max_leaves=8,
)


def space(function: Callable[[Any], None], **options: Any) -> SearchSpace:
    return SearchSpace(Path("space.py"), "", function, SearchSettings(), **options)


def _paths(tree: Tree) -> list[tuple[int, ...]]:
    """Return every path through a tree, as the positions of the choices."""
    if not tree:
        return [()]
    first, *rest = tree
    return [
        (position, *inner, *outer)
        for position, branch in enumerate(first)
        for inner in _paths(branch)
        for outer in _paths(rest)
    ]


def _depth(tree: Tree) -> int:
    return max(len(path) for path in _paths(tree))


@examples
@given(trees.filter(lambda tree: _depth(tree) <= 7))
def test_the_grid_is_exactly_the_product_of_a_conditional_tree(tree: Tree) -> None:
    names = list(NAMES)

    def search_space(trial: Any) -> None:
        unused = iter(names)

        def walk(tree: Tree) -> None:
            for branches in tree:
                name = next(unused)
                values = NAMES[name][: len(branches)]
                walk(branches[values.index(trial.suggest_categorical(name, values))])

        trial.suggest_categorical("model", ["cnn"])
        walk(tree)

    expected = [
        {"model": "cnn"} | {name: NAMES[name][k] for name, k in zip(names, path, strict=False)}
        for path in _paths(tree)
    ]
    configurations = grid(space(search_space))
    assert Counter(map(str, configurations)) == Counter(map(str, expected))


def transfer(trial: Any) -> None:
    if trial.suggest_categorical("model", ["resnet18", "squeezenet1_0", "cnn"]) != "cnn":
        weights = trial.suggest_categorical("weights", ["none", "imagenet", "IMAGENET1K_V1"])
        if weights != "none":
            trial.suggest_categorical("freeze", ["none", "backbone"])


def test_a_walk_finds_the_values_and_the_required_weights() -> None:
    branches = walk_branches(space(transfer))
    assert len(branches.leaves) == 2 * (1 + 2 + 2) + 1
    assert branches.values("freeze") == ("none", "backbone")
    assert set(branches.pairs) == {
        (model, weights)
        for model in ("resnet18", "squeezenet1_0")
        for weights in ("imagenet", "IMAGENET1K_V1")
    }
    assert hyperparameter_summary(branches)["model"] == "resnet18, squeezenet1_0, cnn"


def test_no_branch_needs_weights_that_were_excluded() -> None:
    missing = frozenset({("resnet18", "imagenet"), ("squeezenet1_0", "IMAGENET1K_V1")})
    leaves = grid(without_unavailable(space(transfer), missing))
    pairs = {(leaf["model"], leaf.get("weights")) for leaf in leaves}
    assert not pairs & missing
    assert len(leaves) == 2 * (1 + 2) + 1


def test_a_model_without_available_weights_is_never_drawn() -> None:
    def pretrained(trial: Any) -> None:
        trial.suggest_categorical("model", ["resnet18", "squeezenet1_0"])
        trial.suggest_categorical("weights", ["imagenet"])

    reduced = without_unavailable(space(pretrained), frozenset({("resnet18", "imagenet")}))
    assert reduced.unavailable_models == {"resnet18"}
    assert grid(reduced) == ({"model": "squeezenet1_0", "weights": "imagenet"},)


def test_a_pinned_depth_applies_only_with_a_single_width() -> None:
    def widths(trial: Any) -> None:
        trial.suggest_categorical("model", ["ann"])
        trial.suggest_categorical("width", [64, "32-16"])

    assert grid(space(widths, pins={"depth": 2})) == (
        {"model": "ann", "width": 64, "depth": 2},
        {"model": "ann", "width": "32-16"},
    )


def _lists(trial: Any) -> None:
    trial.suggest_categorical("model", ["ann"])
    trial.suggest_categorical("width", [[64, 32], [16]])


def _frozen_noise(trial: Any) -> None:
    trial.suggest_categorical("model", ["cnn", "resnet18"])
    if trial.suggest_categorical("batch_size", [8, 16]) == 16:
        trial.suggest_categorical("freeze", ["backbone"])


def _high_end(trial: Any) -> None:
    trial.suggest_categorical("model", ["cnn"])
    trial.suggest_float("dropout", 0.0, 1.0)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (_lists, "width"),
        (_frozen_noise, "impossible combination.*reached at model=cnn, batch_size=16"),
        (_high_end, r"dropout=1.0.*reached at"),
        (lambda t: t.suggest_float("lr", 0.1, 0.2), "model"),
        (lambda t: t.suggest_categorical("model", [None]), "'model' has the choice None"),
    ],
)
def test_a_branch_that_cannot_be_trained_is_reported_by_the_walk(
    function: Callable[[Any], None], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        walk_branches(space(function))
    assert is_one_line(caught.value)


def test_a_pin_that_no_branch_has_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"gamma=0\.5 has no effect"):
        walk_branches(space(transfer, pins={"gamma": 0.5}))


def test_a_range_has_no_grid_unless_it_is_pinned() -> None:
    def ranged(trial: Any) -> None:
        trial.suggest_categorical("model", ["cnn"])
        trial.suggest_float("lr", 1e-4, 1e-2, log=True)

    with pytest.raises(SpaceError, match="'lr' is a range") as caught:
        grid(space(ranged))
    assert is_one_line(caught.value)
    assert grid(space(ranged, pins={"lr": 0.01})) == ({"model": "cnn", "lr": 0.01},)


def test_a_walk_over_too_many_branches_is_marked_incomplete() -> None:
    assert not walk_branches(space(transfer), limit=10).complete
    assert len(walk_branches(space(transfer), limit=10).leaves) == 10
    assert walk_branches(space(transfer), limit=11).complete
