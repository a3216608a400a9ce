"""Completion of an object's signed distances to its whole solid."""
