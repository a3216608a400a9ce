"""The pipeline: from frames to a scene of objects."""
