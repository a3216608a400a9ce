"""Photos of one object to its shape, in files: what `recon3d predict` does."""
