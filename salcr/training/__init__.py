"""Optimization: the training loops of both stages, devices, seeds, resuming."""
