"""Renderers of single objects; all take the same scene and give the same images."""
