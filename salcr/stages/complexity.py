"""Count parameters and multiplications of the configured network (paper, Table 15)."""

from __future__ import annotations

import argparse
from pathlib import Path

from salcr import files
from salcr.config.schema import Config
from salcr.log import say
from salcr.models.complexity import measure_sizes
from salcr.models.network import Network


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments."""
    parser.add_argument("--complexity", type=Path, required=True, help="json to write")


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Write the sizes of the baseline and of the whole network, with backbone and image size."""
    network = Network(
        backbone=settings.model.backbone, width=settings.model.width, num_parts=settings.fgsal.parts
    )
    sizes = measure_sizes(
        network.eval(), height=settings.preprocess.height, width=settings.preprocess.width
    )
    configuration = {
        "backbone": settings.model.backbone,
        "width": settings.model.width,
        "parts": settings.fgsal.parts,
        "image": [settings.preprocess.height, settings.preprocess.width],
    }
    networks = {name: size._asdict() for name, size in sizes.items()}
    files.write_json(arguments.complexity, {**configuration, "networks": networks})
    for name, size in sizes.items():
        say(f"{name}: {size.parameters / 1e6:.2f} M parameters, {size.macs / 1e9:.2f} GMac")
