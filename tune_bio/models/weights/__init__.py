"""Pretrained weights: finding, downloading and loading them."""
