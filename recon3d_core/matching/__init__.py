"""Retrieval from a library of meshes, and render-and-match of pose and scale (IM2CAD)."""
