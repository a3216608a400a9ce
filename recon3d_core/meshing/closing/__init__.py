"""Parts of the closing of objects: what is known, which shapes fit it, and the surface."""
