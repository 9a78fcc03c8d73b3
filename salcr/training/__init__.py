"""Optimization: the loops of both stages, devices, seeds, resuming."""
