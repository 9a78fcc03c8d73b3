"""Stored images, pseudo-label files, batches and augmentation."""
