"""Meshes: closing, clean-up, checks, rendering and files."""
