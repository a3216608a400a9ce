"""The scene's surface as a truncated signed distance field, and the map for navigation."""
