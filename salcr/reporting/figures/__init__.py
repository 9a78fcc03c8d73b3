"""Figures from small files."""
