"""Losses of the survey, one function per equation."""
