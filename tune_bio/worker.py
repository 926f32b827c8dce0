"""Imported by Ray's worker processes while they wait: what a trial needs takes seconds."""

from tune_bio.environment import importing

with importing():
    import tune_bio.trainable  # noqa: F401
