"""Command-line arguments that several stages share."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_split(parser: argparse.ArgumentParser) -> None:
    """Add --data and --trial."""
    parser.add_argument("--data", type=Path, required=True, help="folder that preprocess wrote")
    parser.add_argument("--trial", type=int, required=True, help="number of the split, from 1")


def add_compute(parser: argparse.ArgumentParser) -> None:
    """Add --device and --threads."""
    parser.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: a GPU if any"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
