"""Retrieval metrics, re-rankings, and the quality of pseudo-labels."""
