"""The command line: `salcr STAGE ...` or `python -m salcr STAGE ...`, one command per stage."""

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

from salcr import __version__, provenance
from salcr.atomic import remove_unfinished
from salcr.config import cli
from salcr.config.loading import DEFAULT_CONFIG, flag_name, parse_settings
from salcr.config.reading import parse_value, read_configuration
from salcr.config.schema import Config, section_model
from salcr.config.stages import STAGES, Stage
from salcr.errors import SalcrError, is_of_gpu, is_out_of_memory
from salcr.log import FINISHED, escape_text, escape_what_cannot_be_printed, say

_COMPLETION = "--print-completion"


def main(words: list[str] | None = None) -> int:
    """Run one sub-command; return the exit status."""
    signal.signal(signal.SIGTERM, _stopped)  # first of all: the imports below take seconds
    escape_what_cannot_be_printed()
    if words is None and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stopped)  # Ctrl-C
    try:
        try:
            return _run(sys.argv[1:] if words is None else words)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # Python would do so at its end, and print a traceback
    except OSError as error:  # of standard output
        if error.errno is None:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # its reader has ended, as with `| head`
            return 128 + signal.SIGPIPE
        print(f"error: standard output: {error.strerror}", file=sys.stderr)
        return 1


def _run(words: list[str]) -> int:
    """Run one sub-command; return the exit status."""
    complete = _COMPLETION in words
    is_script = Path(sys.argv[0]).stem == "salcr"  # else it is the path of this file
    parser = argparse.ArgumentParser(
        prog="salcr" if complete or is_script else "python -m salcr",
        description="SALCR: unsupervised visible-infrared person re-identification. The "
        "workflow calls these stages; `STAGE --help` explains one.",
    )
    parser.add_argument("--version", action="version", version=f"salcr {__version__}")
    parser.add_argument(
        _COMPLETION, metavar="SHELL", help="print what completes words in bash, zsh, fish or tcsh"
    )
    stages = parser.add_subparsers(dest="stage", metavar="STAGE", required=True)
    commands = {stage.command: stage for stage in STAGES.values()}
    chosen = next((word for word in words if word in commands), None)
    for command, stage in commands.items():
        stage_parser = stages.add_parser(command, help=stage.summary, description=stage.summary)
        if complete or command == chosen:  # only the chosen stage is imported: torch takes seconds
            module = importlib.import_module(f"salcr.stages.{stage.name}")
            stage_parser.description = module.__doc__
            module.add_arguments(stage_parser)
            stage_parser.add_argument(
                "--job", type=Path, help="json to write: settings, code, device and seconds"
            )
            _add_config_flags(stage_parser, stage)
    if complete:
        print(_completion(parser, stages, words[-1]))
        return 0
    started = time.monotonic()
    arguments = argparse.Namespace()
    try:
        arguments = parser.parse_args(words)
        stage = commands[arguments.stage]
        cli.refuse_overwriting(arguments, stage.writes)
        settings = _settings(stage, vars(arguments))
        module.run(arguments, settings)
        seconds = time.monotonic() - started
        if arguments.job is not None:
            provenance.write_job(arguments.job, stage.name, settings.model_dump(), seconds=seconds)
        say(f"{arguments.stage}: {FINISHED} {seconds:.1f} s")
    except Exception as error:
        if isinstance(error, SalcrError):
            message = str(error)
        elif is_out_of_memory(error):
            advice = _less_memory(arguments, gpu=is_of_gpu(error))
            message = f"out of memory: {advice} ({str(error) or type(error).__name__})"
        elif isinstance(error, OSError) and error.errno and not isinstance(error, BrokenPipeError):
            named = f"{os.fsdecode(error.filename)}: " if error.filename is not None else ""
            message = f"{named}{error.strerror}"
        else:
            raise
        print(f"error: {escape_text(message)}", file=sys.stderr)
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


def _stopped(number: int, _: object) -> None:
    """End the job at once, without its temporary files: SLURM's time is up, or Ctrl-C.

    Not by an exception. Raised wherever the signal comes, it would be lost in the callback of a
    weak reference, or end native code that is being imported with an abort.
    """
    remove_unfinished()
    with suppress(OSError):  # standard error may be closed
        # Not print: the signal may have come while it was printing.
        name = signal.Signals(number).name
        os.write(2, f"stopped by {name}; run the same command to resume\n".encode())
    os._exit(128 + number)  # the status that shells give


def _less_memory(arguments: argparse.Namespace, *, gpu: bool) -> str:
    """Return what to do so that a stage has enough memory: first what changes no result.

    Args:
        arguments: of the command.
        gpu: whether it is a GPU's memory that is full.
    """
    stage, threads, cores = arguments.stage, getattr(arguments, "threads", 1), os.cpu_count() or 1
    advice = ["see with nvidia-smi whether another program uses this GPU"] if gpu else []
    if threads > cores:
        advice.append(f"lower compute.threads ({threads} on {cores} cores)")
    training = {
        "pretrain": "pretrain.clusters or pretrain.instances",
        **dict.fromkeys(("train", "rounds"), "train.labels or train.instances"),
    }
    given = vars(arguments)
    if stage in training and given.get("numerics.checkpoint") != "all":
        advice.append("set numerics.checkpoint: all, which takes a third of the memory")
    single = ("never",) if gpu else ("never", "auto")
    if given.get("numerics.autocast") in single:
        advice.append("set numerics.autocast: always (bfloat16), which takes half of it")
    method = {**training, "synthesize": "synthesize.num_identities"}
    keys = [method[stage]] if stage in method else []
    if hasattr(arguments, "data"):  # the size of the images is that of the stored ones
        keys.append("preprocess.height and preprocess.width")
    if keys:
        halves = "set pretrain.batch_norm: halves, or " if stage == "pretrain" else ""
        advice.append(f"{halves}lower {', or '.join(keys)}, which changes what is computed")
    return "; or ".join(advice or ["use a machine with more"])


def _add_config_flags(parser: argparse.ArgumentParser, stage: Stage) -> None:
    """Add one flag per key of the stage's config sections, with the default of default.yaml."""
    defaults = read_configuration(DEFAULT_CONFIG)
    if stage.seeded:
        parser.add_argument(
            "--seed", type=_yaml_value, default=defaults["seed"], help="of all randomness"
        )
    for section in stage.sections:
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
        return parse_value(word)
    except SalcrError as error:
        raise argparse.ArgumentTypeError(f"not a value: {word!r} ({error})") from None


def _settings(stage: Stage, flags: dict[str, Any]) -> Config:
    """Return the checked settings of a stage from its flags."""
    values: dict[str, Any] = {
        section: {key: flags[f"{section}.{key}"] for key in section_model(section).model_fields}
        for section in stage.sections
    }
    return parse_settings(stage.name, {**values, "seed": flags.get("seed")})


if __name__ == "__main__":
    sys.exit(main())
