"""Jobs of Tune: a single trial, or several trials that share a prefix."""

from tests.data_factory import config
from tune_bio.ray_tune.jobs import (
    Member,
    config_of_job,
    job,
    jobs_for,
    longest_of_each_training,
    members_of,
    name_of_job,
)
from tune_bio.records.recorded_trial import RecordedTrial
from tune_bio.records.schema import Status
from tune_bio.records.trial_names import TrialName
from tune_bio.space.trial_config import TrialConfig

LENGTHS = {"t0000": 10, "t0001": 5}


def of_length(epochs: int) -> TrialConfig:
    return config("ann", epochs=epochs, seed=3)


def recorded(trial: str, status: Status, reached: int) -> RecordedTrial:
    steps = tuple((epoch, 0.5) for epoch in range(1, reached + 1))
    return RecordedTrial(trial, of_length(LENGTHS[trial]), status, steps, 0.5)


def test_a_job_of_one_trial_is_that_trial() -> None:
    single = job([("t0003", of_length(7))], skip_to=7)
    assert (single["trial"], single["skip_to"]) == ("t0003", 7)
    assert config_of_job(single) == of_length(7)
    assert name_of_job(single) == TrialName(3)
    assert members_of(single) == (Member("t0003", 7),)


def test_a_job_of_several_trials_trains_the_longest() -> None:
    shared = job([("t0001", of_length(5)), ("t0000", of_length(10))])
    assert (shared["trial"], config_of_job(shared).epochs) == ("t0000", 10)
    assert members_of(shared) == (Member("t0001", 5), Member("t0000", 10))


def test_trials_that_differ_only_in_length_are_one_job() -> None:
    trials = [(name, of_length(epochs)) for name, epochs in LENGTHS.items()]
    (shared,) = jobs_for([*trials])
    assert members_of(shared) == (Member("t0001", 5), Member("t0000", 10))
    other = config("ann", epochs=5, seed=4)
    assert len(jobs_for([*trials, ("t0002", other)])) == 2


def test_a_job_is_repeated_until_all_its_trials_have_ended() -> None:
    trials = [(name, of_length(epochs)) for name, epochs in LENGTHS.items()]
    interrupted = recorded("t0000", "interrupted", 7)
    ended = recorded("t0001", "completed", 5)
    (again,) = jobs_for(trials, [interrupted, ended])
    assert again["skip_to"] == 7
    assert jobs_for(trials, [recorded("t0000", "completed", 10), ended]) == []
    # The shorter trial has no record, so its rung is passed again.
    (both,) = jobs_for(trials, [interrupted])
    assert both["skip_to"] == 5


def test_of_one_training_only_the_longest_trial_counts() -> None:
    past = [recorded("t0001", "completed", 5), recorded("t0000", "interrupted", 7)]
    assert longest_of_each_training(past) == [past[1]]
