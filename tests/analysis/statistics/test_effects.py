"""Effects of hyperparameters in a grid."""

import gc
import itertools
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.multicomp import pairwise_tukeyhsd
from statsmodels.stats.multitest import multipletests

from tune_bio.analysis.statistics import Effect, effects
from tune_bio.errors import StatisticsError

NAMES = ["model", "optimizer", "width"]


def grid(
    seed: int, seeds: int = 3, noise: float = 0.01, model: float = 0.05, optimizer: float = 0.0
) -> pd.DataFrame:
    """Return three models, two optimizers, two widths; `model`, `optimizer`: true effects."""
    rng = np.random.default_rng(seed)
    cells = itertools.product(["a", "b", "c"], ["adam", "sgd"], [8, 16], range(seeds))
    table = pd.DataFrame(list(cells), columns=[*NAMES, "replicate"])
    mean = 0.8 + model * (table["model"] == "c") + optimizer * (table["optimizer"] == "sgd")
    return table.assign(score=mean + rng.normal(0, noise, len(table)))


def by_name(table: pd.DataFrame, **kwargs: float) -> dict[str, Effect]:
    return {effect.hyperparameter: effect for effect in effects(table, NAMES, **kwargs)}


@pytest.mark.parametrize("seed", range(3))
def test_a_full_grid_agrees_with_the_analysis_of_variance_of_statsmodels(seed: int) -> None:
    table = grid(seed)
    estimated = by_name(table)
    full = ols("score ~ C(model) * C(optimizer) * C(width)", table).fit()
    expected = sm.stats.anova_lm(full, typ=2)
    raw = [expected.loc[f"C({name})", "PR(>F)"] for name in NAMES]
    for name in NAMES:
        assert estimated[name].f == pytest.approx(expected.loc[f"C({name})", "F"])
        means = table.groupby(name)["score"].mean()
        assert list(estimated[name].means.values()) == pytest.approx(means.tolist())
        assert estimated[name].range == pytest.approx(np.ptp(means))
        assert estimated[name].noise == pytest.approx(np.sqrt(full.mse_resid))
    corrected = multipletests(raw, method="holm")[1]
    assert [estimated[name].p_value for name in NAMES] == pytest.approx(corrected.tolist())


def test_tukeys_limits_agree_with_statsmodels() -> None:
    table = grid(0)[["model", "score"]]
    (effect,) = effects(table, ["model"])
    expected = pairwise_tukeyhsd(table["score"], table["model"])
    ours = [(d.low, d.high) for d in effect.differences]
    # statsmodels subtracts the first level from the second.
    theirs = [(-high, -low) for low, high in expected.confint]
    assert ours == pytest.approx(np.array(theirs), abs=1e-4)
    assert [(d.a, d.b) for d in effect.differences] == [("a", "b"), ("a", "c"), ("b", "c")]


def test_verdicts_follow_from_limits_and_noise() -> None:
    quiet = by_name(grid(0, seeds=8, noise=0.005))
    assert quiet["model"].verdict == "matters"
    assert quiet["optimizer"].verdict == quiet["width"].verdict == "equal within 1 point"
    loud = by_name(grid(0, seeds=2, noise=0.05, model=0.0))["width"]
    assert (
        loud.verdict
        == f"cannot be distinguished from noise below {100 * loud.detectable:.2g} points"
    )
    assert loud.detectable > 0.02
    assert loud.seeds_needed is not None
    assert loud.seeds_needed > 10


@pytest.fixture
def _frozen_heap() -> Iterator[None]:
    """Freeze the heap, since multipletests of statsmodels collects garbage at each call.

    That takes long in a test run.
    """
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("_frozen_heap")
def test_a_detectable_difference_is_found_in_80_percent_of_grids() -> None:
    names = ["optimizer", "width"]
    quiet, _ = effects(grid(0, model=0.0), names)
    scale = quiet.detectable / quiet.noise  # the noise itself is estimated
    studies, detected = 200, 0
    for seed in range(studies):
        table = grid(seed, noise=0.01, model=0.0, optimizer=scale * 0.01)
        (difference,) = effects(table, names)[0].differences
        detected += difference.high < 0
    assert stats.binomtest(detected, studies, 0.8).pvalue > 0.001


def test_the_seeds_needed_make_a_point_detectable() -> None:
    effect = by_name(grid(0, seeds=2, noise=0.03))["optimizer"]
    needed = effect.seeds_needed
    assert needed is not None
    # With this many seeds and the same noise a point is detectable, with one seed less it is not.
    for seeds, enough in ((needed, True), (needed - 1, False)):
        error = effect.noise * np.sqrt(2 / (6 * seeds))
        freedom = 12 * (seeds - 1)
        power = stats.nct.sf(stats.t.ppf(0.975, freedom), freedom, 0.01 / error)
        assert (power >= 0.8) == enough


def test_lost_trials_are_adjusted_for_and_inactive_is_a_level() -> None:
    table = grid(1)
    holes = table.drop(index=[0, 5, 17, 22])
    incomplete = by_name(holes)
    # Means are adjusted for the lost trials: close to those of the full grid, unlike raw means.
    full = by_name(table)
    for name in NAMES:
        assert incomplete[name].means == pytest.approx(full[name].means, abs=0.01)
    inactive = table.assign(optimizer=table["optimizer"].where(table["optimizer"] == "sgd"))
    assert list(by_name(inactive)["optimizer"].means) == ["sgd", "inactive"]
    inactive_width = table.assign(width=table["width"].where(table["width"] == 8))
    assert list(by_name(inactive_width)["width"].means) == ["8", "inactive"]
    assert by_name(inactive)["optimizer"].f == pytest.approx(full["optimizer"].f)


@pytest.mark.filterwarnings("error")
def test_scores_without_noise_are_refused() -> None:
    for model in (0.0, 0.05):  # an effect without noise would be 0 / 0 or infinite
        with pytest.raises(StatisticsError, match="no score varies between seeds"):
            by_name(grid(0, noise=0.0, model=model))


def test_differences_of_a_loss_are_not_in_points() -> None:
    losses = by_name(grid(0), fractions=False)
    assert losses["width"].verdict in (
        "equal within 0.01",
        "cannot be distinguished from noise below 0.0094",
    )
    assert "point" not in " ".join(effect.verdict for effect in losses.values())
    assert (
        losses["width"].format_difference(0.069), by_name(grid(0))["width"].format_difference(0.069)
    ) == ("0.069", "6.9 points")  # fmt: skip


def test_grids_that_do_not_identify_effects_are_refused() -> None:
    table = grid(0)
    with pytest.raises(StatisticsError, match="no cell of the grid was trained with two seeds"):
        effects(table[table["replicate"] == 0], NAMES)
    with pytest.raises(StatisticsError, match="width has only one level"):
        effects(table[table["width"] == 8], NAMES)
    twin = table.assign(twin=table["width"] * 2)
    with pytest.raises(StatisticsError, match="the other hyperparameters determine width"):
        effects(twin, ["width", "twin"])
