"""The command line: `python -m salcr STAGE ...`, one sub-command per stage."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from salcr import __version__, files, provenance
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
    "associate": "cross-modality pseudo-labels of a round",
    "assess": "how well the pseudo-labels of a round agree with the identities",
    "train": "one round of stage two on the pseudo-labels",
    "evaluate": "CMC, mAP and mINP on the held-out identities",
    "aggregate": "tables over trials, rounds and variants",
    "probe": "distances, a t-SNE and heat maps of a network, for figures",
    "locate": "the cluster centres of a round before and after CMFP, for a figure",
    "draw": "one figure from its small files",
    "record": "provenance of every trial: configuration, code, devices, seconds",
    "verify": "hold every module against values of the released code",
    "import-checkpoint": "turn a checkpoint of the released code into one of ours",
}


def main(words: list[str] | None = None) -> int:
    """Run one sub-command; return the exit status."""
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
            stage_parser.add_argument(
                "--job", type=Path, help="json to write: settings, code, device and seconds"
            )
            _add_config_flags(stage_parser, name)
    arguments = parser.parse_args(words)
    # A scheduler's time limit ends the job like an exception: temporary files are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    started = time.monotonic()
    try:
        settings = _settings(arguments)
        module.run(arguments, **settings)
        seconds = time.monotonic() - started
        if arguments.job is not None:
            job = provenance.of_job(arguments.stage, settings, seconds=seconds)
            files.write_json(arguments.job, job)
        say(f"{arguments.stage}: finished after {seconds:.1f} s")
    except SalcrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        print(f"error: out of memory: {_less_memory(arguments.stage)} ({error})", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


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
