"""One study from plan to report."""
