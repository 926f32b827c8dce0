"""Tables for people: CSV, Markdown and LaTeX."""
