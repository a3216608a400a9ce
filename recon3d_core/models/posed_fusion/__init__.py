"""Fusion of views with known poses in the object's own grid."""
