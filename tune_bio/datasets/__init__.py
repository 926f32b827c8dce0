"""Images in: sources, decoding, cache, transforms, phantom, audit, splits by patient."""
