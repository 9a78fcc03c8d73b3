"""What is here and what is missing: machine, GPUs, packages, tools, data sets, results."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement

from salcr import __version__, files
from salcr.config import table_kinds
from salcr.config.loading import DEFAULT_CONFIG
from salcr.config.reading import read_configurations
from salcr.config.schema import Config
from salcr.datasets.counts import PUBLISHED, deviations
from salcr.datasets.readers import READERS
from salcr.errors import SalcrError
from salcr.log import escape_text
from salcr.provenance import CHECKOUT, git_refusal, processor

_PACKAGES = ("torch", "torchvision", "faiss-gpu", "faiss-cpu", "snakemake", "dvc")
_TOOLS = {"git": "versions of code and data", "sbatch": "submits to SLURM", "dot": "draws --dag"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where to look."""
    parser.add_argument(
        "--directory", type=Path, default=Path(), help="folder with data/ and results/ (default: .)"
    )


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Print a line for each thing, those that are missing with what to do."""
    for title, lines in (
        ("machine", _machine(arguments.directory)),
        ("devices", _devices()),
        ("packages", _packages()),
        ("tools", _tools()),
        ("data", _data(arguments.directory)),
        ("weights", _weights(arguments.directory)),
        ("results", _results(arguments.directory)),
    ):
        for line in lines:
            print(f"{title:<10}{escape_text(line)}")
            title = ""


def _machine(directory: Path) -> Iterator[str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    disk = shutil.disk_usage(directory)
    yield f"SALCR {__version__}, Python {platform.python_version()}, {platform.platform()}"
    if CHECKOUT is None:
        yield (
            f"installed in {Path(__file__).parents[2]}, not in a clone of the repository: the "
            "workflow, its configurations and its locked versions are not here"
        )
    yield (
        f"{os.cpu_count()} CPU cores ({processor()}), {memory:.0f} GB memory, "
        f"{disk.free / 1e9:.0f} GB of {disk.total / 1e9:.0f} GB disk free"
    )


def _devices() -> Iterator[str]:
    import torch

    from salcr.training.devices import usable_gpus

    num_gpus, trouble = usable_gpus()
    if not num_gpus:
        yield f"{trouble or 'no GPU that torch can use'}; everything runs on the CPU"
    for index in range(num_gpus):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        yield f"cuda:{index} {name}, {free / 1e9:.0f} GB of {total / 1e9:.0f} GB free"


def _packages() -> Iterator[str]:
    """Yield a line of versions, and one for each package that is not the locked one."""
    installed = {name: number for name in _PACKAGES if (number := _version(name)) is not None}
    yield ", ".join(f"{name} {number}" for name, number in installed.items())
    if CHECKOUT is None:
        return
    others = []
    for name, locked in _locked(CHECKOUT):
        if (number := _version(name)) is None:
            others.append(f"{name} {locked} is missing")
        elif number != locked:
            others.append(f"{name} {number} is not the locked {locked}")
    yield from (f"{line}; run make venv" for line in others)
    if not others:
        yield "all as in requirements.lock"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _locked(checkout: Path) -> Iterator[tuple[str, str]]:
    """Yield name and version of the packages that are locked for this platform."""
    for line in (checkout / "requirements.lock").read_text(encoding="utf-8").splitlines():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate():
            yield requirement.name, next(iter(requirement.specifier)).version


def _tools() -> Iterator[str]:
    for tool, purpose in _TOOLS.items():
        path = shutil.which(tool)
        yield f"{tool} ({purpose}): {path or 'not found'}"
    if (refusal := git_refusal()) is not None:
        yield refusal


def _data(directory: Path) -> Iterator[str]:
    """Yield what is where the configurations expect their data sets."""
    paths = [DEFAULT_CONFIG] if CHECKOUT is None else sorted((CHECKOUT / "config").glob("*.yaml"))
    seen = set()
    for path in paths:
        dataset = read_configurations([DEFAULT_CONFIG, path])["dataset"]
        root = directory / dataset["root"]
        if root in seen:
            continue
        seen.add(root)
        yield f"{dataset['name']}, {root}: {_found(dataset, root)}"


def _found(dataset: dict[str, object], root: Path) -> str:
    if dataset["synthetic"]:
        return "synthetic people" if root.is_dir() else "not there; made when it is needed"
    layout = str(dataset["layout"])
    try:
        records = READERS[layout].read_records(root)
    except SalcrError as error:
        return "not there" if not root.is_dir() else str(error).splitlines()[0]
    wrong = deviations(layout, records) if layout in PUBLISHED else []
    images = len({record.name for record in records})
    return f"{images} images" + (f"; not as published: {'; '.join(wrong)}" if wrong else "")


def _weights(directory: Path) -> Iterator[str]:
    weights = sorted(directory.glob("data/weights/*.pth"))
    yield from map(str, weights)
    if not weights:
        yield "no ImageNet weights yet; downloaded when they are needed"


def _results(directory: Path) -> Iterator[str]:
    tables = sorted(directory.glob("results/*/summary.csv"))
    for path in tables:
        try:
            summary = files.read_table(path, table_kinds.SUMMARY)
        except SalcrError as error:
            yield str(error)
            continue
        if summary.empty:
            yield f"{path.parent}: trained; there are no test images to evaluate with"
            continue
        last = summary[summary["stage"] == summary["stage"].iloc[-1]].iloc[0]
        count = int(last["num_trials"])
        yield (
            f"{path.parent}: {last['variant']}, {last['setting']}, rank-1 "
            f"{last['rank1_mean']:.1f}, mAP {last['map_mean']:.1f} over {count} "
            f"trial{'s' * (count > 1)}"
        )
    if not tables:
        yield "none yet" if CHECKOUT is None else "none yet; `make demo` makes some in minutes"
