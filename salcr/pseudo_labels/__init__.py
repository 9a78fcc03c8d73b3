"""Clustering within a modality and association between modalities."""
