"""Jobs of Tune: one trial of the study, or several that share a prefix."""

from tune_bio.jobs import (
    Member,
    ablation_name,
    is_ablation,
    job,
    members_of,
    replicate_of,
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
