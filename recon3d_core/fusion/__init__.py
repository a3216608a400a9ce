"""Fusion of many views of one object, one view after the other at constant cost."""
