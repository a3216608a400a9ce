"""How good a result is, against ground truth."""
