"""The records that a study leaves: Parquet tables, predictions, manifest, trial names."""
