"""Synthetic scenes: solids, layouts, cameras, rendering, sensor noise and ground truth."""
