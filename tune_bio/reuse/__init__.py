"""Work that is never done twice: what is kept of it, where, and under which key."""
