"""A detector for recon3d in a package of its own."""
