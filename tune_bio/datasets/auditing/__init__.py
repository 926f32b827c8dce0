"""What the audit looks for, one concept a file; `tune_bio.datasets.checks` is the face."""
