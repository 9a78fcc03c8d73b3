"""Rows of the benchmark: clustering."""

from __future__ import annotations

from benchmarks.row import Row

ROWS: list[Row] = []
