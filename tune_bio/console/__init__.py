"""The terminal: parser, options, live display."""
