"""A study, from its plan to its report."""
