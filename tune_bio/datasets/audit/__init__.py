"""What the audit looks for, one concept a file; `tune_bio.datasets.audit.audit` is the face."""
