"""report.html and the comparison of studies, as self-contained files."""
