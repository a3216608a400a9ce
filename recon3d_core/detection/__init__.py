"""Finding objects and support planes in single frames."""
