"""Synthetic people in the layouts of the real data sets."""
