"""Many trials on processes and nodes: the only folder that imports Ray."""
