"""Rows of the benchmark: augmentation."""

from __future__ import annotations

from benchmarks.row import Row

ROWS: list[Row] = []
