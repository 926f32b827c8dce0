"""The search space: hyperparameters, settings, the search-space file and its branches."""
