"""Several rounds of stage two in one job: `associate`, then `train`, round after round.

The files of each round are those that the two stages write, byte for byte on a CPU. The network,
the optimizer's state and the features stay in memory, and the images are read once.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from salcr import files, provenance
from salcr.config import cli
from salcr.config.loading import parse_settings
from salcr.config.runs import Span, round_name, span_file
from salcr.config.schema import Config
from salcr.data.store import load_split
from salcr.log import say
from salcr.stages import associate, train
from salcr.training import devices
from salcr.training.kept_rounds import STATE, KeptRounds
from salcr.training.resume import resume_key
from salcr.training.tensorboard import curve_writer

_FILES = [
    "labels.csv",
    "checkpoint.pt",
    "losses.csv",
    "jobs/associate.json",
    "jobs/train.json",
    STATE,
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments."""
    cli.add_split(parser)
    parser.add_argument(
        "--folder", type=Path, required=True, help="of the trial; rounds are written below it"
    )
    parser.add_argument("--first", action=cli.Integer, required=True, help="first round")
    parser.add_argument("--last", action=cli.Integer, required=True, help="last round")
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="network of the round before the first"
    )
    parser.add_argument(
        "--optimizer-state", type=Path, help="state of that round; none where the first is 1"
    )
    parser.add_argument(
        "--optimizer-states",
        choices=["all", "last"],
        default="all",
        help="which to leave: of all rounds, or of the last alone",
    )
    cli.add_curves(parser)
    cli.add_compute(parser)


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Associate and train each round and write its files, after those that a stopped job kept."""
    device = devices.prepare(arguments.device, arguments.threads)
    folder, trial, span = arguments.folder, arguments.trial, Span(arguments.first, arguments.last)
    # First of all: whoever plans while the job runs, or after it was stopped, divides alike.
    values = settings.model_dump()
    provenance.write_job(span_file(folder, span), "rounds", values, seconds=0.0)
    split = load_split(arguments.data, trial=trial, split="train")
    say(f"rounds {span.first} to {span.last}, trial {trial}: {split}")
    key = resume_key("rounds", settings, _origin(arguments))
    kept = KeptRounds(folder, key, all_states=arguments.optimizer_states == "all")
    done = kept.restore(*span)
    if done >= span.first:
        say(f"rounds {span.first} to {done} are kept from a job that was stopped")
    checkpoint, state = arguments.checkpoint, arguments.optimizer_state
    if done >= span.first:
        checkpoint, state = (folder / round_name(done) / name for name in ("checkpoint.pt", STATE))
    associating, training = (parse_settings(stage, values) for stage in ("associate", "train"))
    network = train.read_previous(checkpoint, device, split, training, trial, done + 1)
    adam = train.read_optimizer(state, network, split, training, trial, done + 1)
    split = train.preload_for_training(split, network, training)
    with curve_writer(arguments.curves, first=done + 1) as add_points:
        for round_ in range(done + 1, span.last + 1):
            path = folder / round_name(round_)
            started = time.monotonic()
            extracted, clusters, labels = associate.associate_images(
                network, split, associating, path / "labels.csv", trial=trial
            )
            associated = time.monotonic()
            outputs = train.Outputs(path / "checkpoint.pt", path / STATE, path / "losses.csv")
            means = train.train_and_write(
                network,
                adam,
                split,
                labels,
                clusters,
                training,
                outputs,
                trial=trial,
                round_=round_,
                extracted=extracted,
            )
            for stage, its, seconds in (
                ("associate", associating, associated - started),
                ("train", training, time.monotonic() - associated),
            ):
                provenance.write_job(
                    path / "jobs" / f"{stage}.json", stage, its.model_dump(), seconds=seconds
                )
            kept.keep(round_, _FILES)
            add_points(round_, means)
    kept.finish()


def _origin(arguments: argparse.Namespace) -> dict[str, object]:
    """Return the inputs of the rounds, beside settings and code."""
    state = arguments.optimizer_state
    return {
        "data": files.sha256(arguments.data / "preprocess.json"),
        "trial": arguments.trial,
        "checkpoint": files.sha256(arguments.checkpoint),
        "optimizer_state": files.sha256(state) if state else None,
    }
