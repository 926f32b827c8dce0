"""The audit of a data source: one check per module; `audit.audit` is the entry point."""
