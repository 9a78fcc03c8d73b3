"""Parameters and multiplications of the configured network (paper, Table 15). Needs no data."""

from __future__ import annotations

import argparse
from pathlib import Path

from salcr import files
from salcr.config import schema
from salcr.log import say
from salcr.models.complexity import sizes
from salcr.models.network import Network


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the stage writes."""
    parser.add_argument("--counts", type=Path, required=True, help="json to write")


def run(
    arguments: argparse.Namespace,
    *,
    model: schema.Model,
    preprocess: schema.Preprocess,
    fgsal: schema.Fgsal,
) -> None:
    """Write the counts of the baseline and of the whole network, and what was counted."""
    network = Network(backbone=model.backbone, width=model.width, num_parts=fgsal.parts)
    found = sizes(network.eval(), height=preprocess.height, width=preprocess.width)
    counted = {
        "backbone": model.backbone,
        "width": model.width,
        "parts": fgsal.parts,
        "image": [preprocess.height, preprocess.width],
    }
    networks = {name: size._asdict() for name, size in found.items()}
    files.write_json(arguments.counts, {**counted, "networks": networks})
    for name, size in found.items():
        say(f"{name}: {size.parameters / 1e6:.2f} M parameters, {size.macs / 1e9:.2f} GMac")
