"""Jobs of Tune: one trial of the study, or several that share a prefix."""

from tune_bio.ray_tune.jobs import Member, job, members_of
from tune_bio.records.trial_names import (
    ablation_name,
    confirms,
    is_ablation,
    is_resplit,
    replicate_of,
    resplit_name,
    trial_name,
)


def test_a_job_of_one_trial_is_that_trial() -> None:
    alone = job([("t0003", {"model": "ann", "epochs": 7})], skip_to=7)
    assert alone == {"trial": "t0003", "params": {"model": "ann", "epochs": 7}, "skip_to": 7}
    assert members_of(alone) == (Member("t0003", 7),)


def test_a_job_of_several_trains_the_longest() -> None:
    lengths = [("t0001", 5), ("t0000", 10)]
    shared = job([(name, {"model": "ann", "epochs": epochs}) for name, epochs in lengths])
    assert (shared["trial"], shared["params"]["epochs"]) == ("t0000", 10)
    assert members_of(shared) == (Member("t0001", 5), Member("t0000", 10))


def test_an_ablation_is_a_replicate_by_its_name() -> None:
    name = ablation_name("t0003", 12, 2)
    assert name == "t0003a12r2"
    assert replicate_of(name) == 2
    assert is_ablation(name)
    assert not is_ablation(trial_name(3, 2))


def test_a_resplit_is_a_replicate_that_confirms_nothing() -> None:
    name = resplit_name("t0003", 2)
    assert (name, replicate_of(name)) == ("t0003s2r2", 2)
    assert is_resplit(name)
    assert [confirms(t) for t in (name, "t0003r2", "t0003", "t0003a1r2")] == [0, 1, 0, 0]
