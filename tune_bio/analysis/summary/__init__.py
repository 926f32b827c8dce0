"""summary.md: the conclusions, tables and methods of a study as text."""
