"""Figures, as PNG and SVG, from the records."""
