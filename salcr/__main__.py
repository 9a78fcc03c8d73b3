"""The command line: `python -m salcr STAGE ...`, one sub-command per stage."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import time
from contextlib import suppress
from typing import Any

import yaml

from salcr import __version__
from salcr.config import (
    DEFAULT_CONFIG,
    SEEDED_STAGES,
    STAGE_SECTIONS,
    flag_name,
    load_yaml,
    parse_section,
)
from salcr.errors import SalcrError, is_out_of_memory
from salcr.logs import say
from salcr.schema import section_model

SUMMARIES = {
    "synthesize": "draw a small data set of people",
    "weights": "download ImageNet weights of a backbone",
    "preprocess": "decode and resize the images of a data set once",
    "pretrain": "stage one: contrastive learning inside each modality",
    "associate": "cross-modality pseudo-labels of a round, and their quality",
    "train": "one round of stage two on the pseudo-labels",
    "evaluate": "CMC, mAP and mINP on the held-out identities",
    "aggregate": "tables over trials, rounds and variants",
    "figures": "one figure from the tables",
    "verify": "hold every module against values of the released code",
    "import-checkpoint": "turn a checkpoint of the released code into one of ours",
}


def main(words: list[str] | None = None) -> int:
    """Run one sub-command; return the exit status."""
    signal.signal(signal.SIGTERM, _stopped)  # first of all: the imports below take seconds
    words = sys.argv[1:] if words is None else words
    parser = argparse.ArgumentParser(
        prog="python -m salcr",
        description="SALCR: unsupervised visible-infrared person re-identification. The "
        "workflow calls these stages; `STAGE --help` explains one.",
    )
    parser.add_argument("--version", action="version", version=f"salcr {__version__}")
    stages = parser.add_subparsers(dest="stage", metavar="STAGE", required=True)
    chosen = next((word for word in words if word in SUMMARIES), None)
    for name, summary in SUMMARIES.items():
        stage_parser = stages.add_parser(name, help=summary, description=summary)
        if name == chosen:  # only the chosen stage is imported: torch takes seconds
            module = importlib.import_module(f"salcr.stages.{name.replace('-', '_')}")
            stage_parser.description = module.__doc__
            module.add_arguments(stage_parser)
            _add_config_flags(stage_parser, name)
    arguments = parser.parse_args(words)
    started = time.monotonic()
    try:
        module.run(arguments, **_settings(arguments))
        say(f"{arguments.stage}: finished after {time.monotonic() - started:.1f} s")
    except SalcrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (ImportError, MemoryError, OSError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        print(f"error: out of memory: {_less_memory(arguments.stage)} ({error})", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _stopped(*_: object) -> None:
    """End the job as an exception does, so that temporary files are removed: SLURM's time is up."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not disturb that
    with suppress(OSError):  # nobody may be left to read it
        # Not print: the signal may have come while it was printing.
        os.write(2, b"stopped by SIGTERM; the same command goes on\n")
    sys.exit(128 + signal.SIGTERM)


def _less_memory(stage: str) -> str:
    """Return which keys to lower so that a stage needs less memory."""
    batches = {
        "pretrain": "pretrain.clusters or pretrain.instances",
        "train": "train.labels or train.instances",
    }
    lower = f"lower {batches[stage]}, or " if stage in batches else "lower "
    return f"{lower}preprocess.height and preprocess.width; bfloat16 (numerics.autocast) halves it"


def _add_config_flags(parser: argparse.ArgumentParser, stage: str) -> None:
    """Add one flag per key of the stage's config sections, with the default of default.yaml."""
    defaults = load_yaml(DEFAULT_CONFIG)
    if stage in SEEDED_STAGES:
        parser.add_argument("--seed", type=int, default=defaults["seed"], help="of all randomness")
    for section in STAGE_SECTIONS[stage]:
        model = section_model(section)
        group = parser.add_argument_group(f"config section `{section}`", model.__doc__)
        for key, field in model.model_fields.items():
            default = defaults[section][key]
            group.add_argument(
                flag_name(section, key),
                dest=f"{section}.{key}",
                type=_yaml_value,
                default=default,
                metavar="VALUE",
                help=f"{field.description} (default: {default})".replace("%", "%%"),
            )


def _yaml_value(word: str) -> Any:
    try:
        return yaml.safe_load(word)
    except yaml.YAMLError:
        raise argparse.ArgumentTypeError(f"not a value: {word!r}") from None


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the checked config sections of the chosen stage, by name."""
    stage, values = arguments.stage, vars(arguments)
    settings: dict[str, Any] = {"seed": arguments.seed} if stage in SEEDED_STAGES else {}
    for section in STAGE_SECTIONS[stage]:
        keys = section_model(section).model_fields
        settings[section] = parse_section(
            section, {key: values[f"{section}.{key}"] for key in keys}
        )
    return settings


if __name__ == "__main__":
    sys.exit(main())
