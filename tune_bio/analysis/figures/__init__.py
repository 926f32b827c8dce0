"""Figures of a study as PNG and SVG files, made from its records."""
