"""Trainings that follow the search: confirmation, re-splits, ablation."""
