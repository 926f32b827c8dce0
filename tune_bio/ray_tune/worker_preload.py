"""Imports for Ray's worker processes: while they wait, they load what a trial needs (seconds)."""

from tune_bio.common.imports import importing

with importing():
    import tune_bio.ray_tune.trainable  # noqa: F401
