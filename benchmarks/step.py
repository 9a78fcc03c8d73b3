"""Rows of the benchmark: step."""

from __future__ import annotations

from benchmarks.row import Row

ROWS: list[Row] = []
