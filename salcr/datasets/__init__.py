"""Data sets on disk: a reader for each layout, published counts, evaluation protocols."""
