"""Compare every module with reference values computed with the released code."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from salcr import files, verification
from salcr.config import cli
from salcr.config.schema import Config
from salcr.errors import SalcrError
from salcr.log import say
from salcr.training import devices
from salcr.verification.clustering import CHECKS
from salcr.verification.comparison import RTOL, Arrays, Comparison

OWN_GOLDEN = Path(verification.__file__).with_name("golden")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where the reference values are."""
    parser.add_argument(
        "--golden", type=Path, default=OWN_GOLDEN,
        help="folder in the format of salcr/verification/golden (default: that one)",
    )  # fmt: skip
    cli.add_compute(parser)


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Print a line per module and refuse if one does not agree."""
    device = devices.prepare(arguments.device, arguments.threads, wait=False)
    # A GPU's convolutions would round to 10 bits, which the necks magnify beyond any tolerance.
    torch.backends.cudnn.allow_tf32 = False
    say(f"reference values: {arguments.golden}")
    failures = []
    print(
        f"{'module':<20}{'values':>7}{'largest abs':>13}{'largest rel':>13}{'tolerance':>20}  pass"
    )
    for name in CHECKS:
        try:
            comparisons = _compare(name, arguments.golden, device)
        except SalcrError as error:
            failures.append(str(error))
            print(f"{name:<20}{'cannot be compared':>53}  NO")
            continue
        failures += [f"{name}: {one.name}" for one in comparisons if not one.passes]
        print(_line(name, comparisons))
    if failures:
        raise SalcrError(f"{len(failures)} disagree:\n  " + "\n  ".join(failures))


def _compare(name: str, golden: Path, device: torch.device) -> list[Comparison]:
    data = _load(golden, name)
    try:
        return list(CHECKS[name](data, golden, device))
    except KeyError as error:
        raise SalcrError(
            f"{golden / name}.npz: holds no {error}; restore the folder, see its README.md"
        ) from None
    except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise SalcrError(
            f"{golden / name}.npz: its arrays do not fit together, restore the folder "
            f"({type(error).__name__}: {error})"
        ) from None


def _load(golden: Path, name: str) -> Arrays:
    """Return the arrays of NAME.npz and of any NAME_*.npz beside it, as large files are split."""
    paths = [golden / f"{name}.npz", *sorted(golden.glob(f"{name}_*.npz"))]
    return {key: value for path in paths for key, value in files.read_arrays(path).items()}


def _line(name: str, comparisons: list[Comparison]) -> str:
    absolute = max(one.absolute_error for one in comparisons)
    relative = max(one.relative_error for one in comparisons)
    atol = max(one.atol for one in comparisons)
    tolerance = f"{atol:.0e} + {RTOL:.0e} rel" if atol else "equal"
    passes = "yes" if all(one.passes for one in comparisons) else "NO"
    numbers = f"{len(comparisons):>7}{absolute:>13.1e}{relative:>13.1e}"
    return f"{name:<20}{numbers}{tolerance:>20}  {passes}".replace(str(np.inf), "inf")
