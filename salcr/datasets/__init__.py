"""Data sets on disk: one module per layout, the only code that knows it."""
