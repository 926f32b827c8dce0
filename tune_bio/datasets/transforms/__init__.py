"""Geometry, normalisation and augmentation of images."""
