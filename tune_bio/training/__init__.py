"""Training of one trial: `fit(config, data)`, without Ray and without files."""
