"""Convert a checkpoint of the released SALCR code for `pretrain.checkpoint`."""

from __future__ import annotations

import argparse
import textwrap
from collections import Counter
from pathlib import Path

from salcr import files
from salcr.config import cli
from salcr.config.schema import Config
from salcr.log import say
from salcr.models import tensor_files
from salcr.models.checkpoint import write_model
from salcr.models.released import build_network, rename_parameters

_PUBLISHED_SIZE = (288, 144)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments."""
    parser.add_argument("source", type=Path, metavar="IN", help="released file, .pth.tar or .pth")
    parser.add_argument("out", type=Path, metavar="OUT", help="checkpoint to write")
    parser.add_argument(
        "--trial",
        action=cli.Integer,
        default=1,
        help="split that it was trained on; others are refused (default: 1)",
    )
    parser.add_argument(
        "--image-size",
        action=cli.Integer,
        least=32,
        most=1024,
        nargs=2,
        default=_PUBLISHED_SIZE,
        metavar=("HEIGHT", "WIDTH"),
        help="of the images that it was trained on (default: {} {})".format(*_PUBLISHED_SIZE),
    )


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Write the checkpoint and report the parts of the file that are ignored."""
    height, width = arguments.image_size
    released, others = tensor_files.read_foreign_checkpoint(arguments.source)
    state, unused = rename_parameters(released)
    network = build_network(state, arguments.source)
    write_model(
        arguments.out,
        network,
        round_=0,
        trial=arguments.trial,
        image_size=(height, width),
        data_hash=None,
        settings=Config.model_construct(),  # unknown, as is the seed
    )
    say(f"{arguments.source}: sha256 {files.sha256(arguments.source)}")
    for name, value in others.items():
        say(f"ignored: entry {name} ({textwrap.shorten(str(value), 60)})")
    groups = Counter(_group(name) for name in unused)
    if groups:
        counted = ", ".join(f"{name} ({number})" for name, number in groups.items())
        say(f"ignored, since the network does not use them: parameters of {counted}")
    say(
        f"{arguments.out}: {network.backbone}, {network.num_parts} parts, trial {arguments.trial}, "
        f"images of {height}x{width}; "
        "to evaluate it or to train stage two from it, set pretrain.checkpoint to this path"
    )


def _group(name: str) -> str:
    """Return the module of a parameter, at most three levels deep."""
    words = name.removeprefix("module.").split(".")
    return ".".join(words[: 3 if len(words) > 3 else 2])
