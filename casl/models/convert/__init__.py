"""Weights of our detectors under the names of other projects, and the reverse: one file a format."""
