"""Completion of an object's visible points to all of its surface, and of that to its solid."""
