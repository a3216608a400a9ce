"""Class-agnostic instance masks from colour, depth or both."""
