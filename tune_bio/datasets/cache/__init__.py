"""The cache of decoded images, and eviction of old entries."""
