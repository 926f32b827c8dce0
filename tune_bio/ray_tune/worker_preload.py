"""Imported by Ray's worker processes while they wait: what a trial needs takes seconds."""

from tune_bio.common.imports import importing

with importing():
    import tune_bio.ray_tune.trainable  # noqa: F401
