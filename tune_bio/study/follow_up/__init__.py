"""Training that follows the search: confirmation, re-splits, ablation."""
