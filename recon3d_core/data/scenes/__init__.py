"""Cluttered scenes composed of true objects: how they lie, where they stand, who sees them."""
