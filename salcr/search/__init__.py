"""Searching images with a trained network."""
