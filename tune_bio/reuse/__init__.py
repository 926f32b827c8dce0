"""Reuse of finished work: checkpoints and frozen features, and the keys they are stored under."""
