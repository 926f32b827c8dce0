"""Trained models on new images: loading, prediction, external validation."""
