"""Image data sets: sources, decoding, cache, transforms, the phantom, the audit, and splits."""
