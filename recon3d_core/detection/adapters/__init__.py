"""Detectors made elsewhere: networks from files, each behind a library that may be missing."""
