"""Planning of a study: everything that can be refused before a trial starts."""
