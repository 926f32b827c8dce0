"""The cache of decoded images, and the eviction of old entries."""
