"""Cluster memories and the losses of both stages."""
