"""Where the poses of the cameras come from, one plugin per way."""
