"""Figures, statistics and reports from a study's records; independent of Ray."""
