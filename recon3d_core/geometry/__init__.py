"""Cameras, rigid transforms, voxel grids and rays; conventions in docs/conventions.md."""
