"""The phantom: a deterministic synthetic data set."""
