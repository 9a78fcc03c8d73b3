"""SALCR for unsupervised visible-infrared person re-identification (IJCV 2025)."""

__version__ = "0.1.0"
