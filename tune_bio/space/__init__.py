"""The search space: hyperparameters, settings, search-space files and their branches."""
