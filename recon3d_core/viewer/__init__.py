"""A web page that shows a scene: its surface, and every object with its box and label."""
