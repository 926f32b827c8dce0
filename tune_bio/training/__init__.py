"""One trial: fit(config, data). No Ray, no files."""
