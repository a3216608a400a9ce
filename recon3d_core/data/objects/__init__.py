"""Objects with a known shape, for training and evaluation."""
