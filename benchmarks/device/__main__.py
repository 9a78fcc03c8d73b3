"""Run the sections one after another: an error in one is reported, and the next one starts."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

try:
    import torch

    from benchmarks.device import commands, equality, steps, throughput
    from benchmarks.device.check import Check
    from salcr.training.devices import usable_gpus
except ModuleNotFoundError as error:
    sys.exit(
        f"error: {sys.executable} has no {error.name}; the check needs torch, numba, and pydantic, "
        "which `make gpu-wheels` fetches into the folder .gpu, on a machine with a network"
    )

SECTIONS: dict[str, Callable[[Check], None]] = {
    "machine": throughput.machine,
    "tests": commands.tests,
    "verify": commands.verify,
    "equality": equality.equality,
    "steps": steps.steps,
    "profile": steps.profiled,
    "features": throughput.features,
    "association": throughput.association,
    "cards": steps.cards,
    "demo": commands.demo,
    "compiled": steps.compiled,
}
"""Name -> what it measures; the most important first."""


def main() -> int:
    """Run the chosen sections; return 1 if one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.device", description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="small sizes, to rehearse on a CPU")
    parser.add_argument(
        "--out", type=Path, default=Path("results/gpu_check"), help="folder for the results"
    )
    parser.add_argument(
        "--budget", type=float, default=420, help="seconds after which no section starts"
    )
    for name, effect in (("--only", "run"), ("--skip", "leave out")):
        parser.add_argument(
            name, nargs="+", choices=SECTIONS, default=[], metavar="SECTION",
            help=f"{effect} these of {', '.join(SECTIONS)}",
        )  # fmt: skip
    arguments = parser.parse_args()
    if arguments.device == "cuda":
        num_gpus, trouble = usable_gpus()
        if not num_gpus:
            trouble = trouble or "no CUDA device is visible"
            sys.exit(f"error: {trouble}; to rehearse: --device cpu --small")
    check = Check(
        arguments.device, small=arguments.small, out=arguments.out, budget=arguments.budget
    )
    failed = []
    for name in arguments.only or SECTIONS:
        if name in arguments.skip:
            continue
        if check.time_is_up:
            check.say(f"{name}: no time left")
            continue
        started = time.monotonic()
        try:
            with contextlib.redirect_stderr(check.log):  # the messages of the stages
                SECTIONS[name](check)
        except Exception as error:  # the other sections may still tell something
            failed.append(name)
            traceback.print_exc(file=check.log)
            check.keep(name, "FAILED", f"{type(error).__name__}: {str(error)[:500]}")
        if check.on_gpu:
            torch.cuda.empty_cache()
        check.say(f"-- {name}: {time.monotonic() - started:.0f} s")
    check.say(f"results: {check.out}/check.md, {check.out}/check.json, {check.log.name}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
