"""The command line: `python -m salcr STAGE ...`, one sub-command per stage."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from salcr import __version__, files, provenance
from salcr.atomic import remove_unfinished
from salcr.config.loading import (
    DEFAULT_CONFIG,
    SEEDED_STAGES,
    STAGE_SECTIONS,
    flag_name,
    load_yaml,
    parse_section,
)
from salcr.config.schema import section_model
from salcr.errors import SalcrError, is_out_of_memory
from salcr.log import FINISHED, say

SUMMARIES = {
    "synthesize": "draw a small data set of people",
    "weights": "download ImageNet weights of a backbone",
    "preprocess": "decode and resize the images of a data set once",
    "pretrain": "stage one: contrastive learning inside each modality",
    "associate": "cross-modality pseudo-labels of a round",
    "assess": "how well the pseudo-labels of a round agree with the identities",
    "train": "one round of stage two on the pseudo-labels",
    "evaluate": "CMC, mAP and mINP on the held-out identities",
    "count": "parameters and multiplications of the network",
    "transfer": "evaluate another data set's network on this one",
    "aggregate": "tables over trials, rounds and variants",
    "probe": "distances, a t-SNE and heat maps of a network, for figures",
    "locate": "the cluster centres of a round before and after CMFP, for a figure",
    "draw": "one figure from its small files",
    "record": "provenance of every trial: configuration, code, devices, seconds",
    "tables": "the paper's tables, ours beside the published figures",
    "report": "one HTML page of all results",
    "embed": "features of folders of pictures, and an index to search them",
    "search": "the pictures of an index that show whom a query shows",
    "export": "a trained network as an ONNX file, checked with onnxruntime",
    "info": "machine, devices, packages, data and results, and what is missing",
    "verify": "hold every module against values of the released code",
    "import-checkpoint": "turn a checkpoint of the released code into one of ours",
}


_COMPLETION = "--print-completion"


def main(words: list[str] | None = None) -> int:
    """Run one sub-command; return the exit status."""
    signal.signal(signal.SIGTERM, _stopped)  # first of all: the imports below take seconds
    words = sys.argv[1:] if words is None else words
    complete = _COMPLETION in words
    parser = argparse.ArgumentParser(
        prog="salcr" if complete else "python -m salcr",
        description="SALCR: unsupervised visible-infrared person re-identification. The "
        "workflow calls these stages; `STAGE --help` explains one.",
    )
    parser.add_argument("--version", action="version", version=f"salcr {__version__}")
    parser.add_argument(
        _COMPLETION, metavar="SHELL", help="print what completes words in bash, zsh, fish or tcsh"
    )
    stages = parser.add_subparsers(dest="stage", metavar="STAGE", required=True)
    chosen = next((word for word in words if word in SUMMARIES), None)
    for name, summary in SUMMARIES.items():
        stage_parser = stages.add_parser(name, help=summary, description=summary)
        if complete or name == chosen:  # only the chosen stage is imported: torch takes seconds
            module = importlib.import_module(f"salcr.stages.{name.replace('-', '_')}")
            stage_parser.description = module.__doc__
            module.add_arguments(stage_parser)
            stage_parser.add_argument(
                "--job", type=Path, help="json to write: settings, code, device and seconds"
            )
            _add_config_flags(stage_parser, name)
    if complete:
        print(_completion(parser, stages, words[-1]))
        return 0
    arguments = parser.parse_args(words)
    started = time.monotonic()
    try:
        settings = _settings(arguments)
        module.run(arguments, **settings)
        seconds = time.monotonic() - started
        if arguments.job is not None:
            job = provenance.of_job(arguments.stage, settings, seconds=seconds)
            files.write_json(arguments.job, job)
        say(f"{arguments.stage}: {FINISHED} {seconds:.1f} s")
    except Exception as error:
        if isinstance(error, SalcrError):
            message = str(error)
        elif is_out_of_memory(error):
            message = f"out of memory: {_less_memory(arguments.stage)} ({error})"
        elif isinstance(error, OSError) and error.filename is not None:
            message = f"{os.fsdecode(error.filename)}: {error.strerror}"
        else:
            raise
        print(f"error: {message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _completion(parser: argparse.ArgumentParser, stages: Any, shell: str) -> str:
    """Return the script that lets a shell complete stages, flags and names of files."""
    import shtab

    if shell not in shtab.SUPPORTED_SHELLS:
        parser.error(f"{_COMPLETION}: not {shell!r} but one of {shtab.SUPPORTED_SHELLS}")
    for stage in stages.choices.values():
        for action in stage._actions:
            if action.type is Path:
                action.complete = shtab.FILE
    return shtab.complete(parser, shell)


def _stopped(*_: object) -> None:
    """End the job at once, without its temporary files: SLURM's time is up.

    Not by an exception. Raised wherever the signal comes, it would be lost in the callback of a
    weak reference, or end native code that is being imported with an abort.
    """
    remove_unfinished()
    with suppress(OSError):  # nobody may be left to read it
        # Not print: the signal may have come while it was printing.
        os.write(2, b"stopped by SIGTERM; the same command goes on\n")
    os._exit(128 + signal.SIGTERM)  # the status that shells give


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
