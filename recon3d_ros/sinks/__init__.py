"""Outputs of the node, one plugin per family of topics."""
