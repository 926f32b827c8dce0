"""summary.md: conclusions, tables and methods as text."""
