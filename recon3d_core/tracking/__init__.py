"""Association of detections over time."""
