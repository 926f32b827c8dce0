"""The phantom: deterministic synthetic images."""
