"""Helpers that every subpackage uses: atomic writes, hashes, imports, labels and seeds."""
