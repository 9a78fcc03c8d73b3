"""Tests, `verify`, and a whole trial, by the commands that users run."""

from __future__ import annotations

import importlib.util
import json
import shlex
import tempfile
import time
from pathlib import Path

from benchmarks.device.check import Check
from salcr.config.loading import DEFAULT_CONFIG, merge, stage_flags, validate
from salcr.config.runs import round_name
from salcr.files import read_yaml

_ROOT = Path(__file__).parents[2]
_DEMO, _TINY = _ROOT / "config/demo.yaml", _ROOT / "tests/support/tiny.yaml"
_NOTHING_SELECTED = 5  # pytest's status
_ROUNDS = 4


class Failed(Exception):
    """A command that failed, with its last lines."""


def tests(check: Check) -> None:
    """Run the tests that need a GPU; on a CPU, import all of them and select none."""
    words = ["pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", "--tb=short"]
    if importlib.util.find_spec("xdist") and check.on_gpu:
        words += ["-n", str(check.threads)]
    done = check.run(*words, limit=300)
    last = done.stdout.strip().splitlines()[-1]
    check.keep("tests", "pytest -m gpu", last)
    if done.returncode != (0 if check.on_gpu else _NOTHING_SELECTED):
        raise Failed(f"pytest -m gpu: status {done.returncode}, see {check.log.name}")


def verify(check: Check) -> None:
    """Compare every module with values of the released code, on the device."""
    words = ["verify", "--device", check.device, "--threads", check.threads]
    done = check.run("salcr", *words, limit=200)
    for line in done.stdout.splitlines():
        *_, verdict = line.split() or [""]
        if verdict in ("yes", "NO"):
            module, _, _, relative, *_ = line.split()
            check.keep("verify", module, f"{verdict}, largest relative error {relative}")
    if done.returncode:
        raise Failed(_last_lines(done.stdout))


def demo(check: Check) -> None:
    """Run a trial of the demo job by job: does it learn, and what does a job cost?"""
    with tempfile.TemporaryDirectory() as folder:
        trial = _Trial(check, Path(folder))
        trial.start()
        last = 1 if check.small else _ROUNDS
        scores = {"0": trial.rank1(0)}
        for round_ in range(1, last + 1):
            trial.add_round(round_)
        scores[str(last)] = trial.rank1(last)
    check.keep("demo", "rank-1 by round", scores)
    for stage, taken in trial.seconds.items():
        check.keep("demo", f"{stage}, s a job, of them to start and end", taken)


class _Trial:
    """One trial of the demo in a folder, by commands."""

    def __init__(self, check: Check, folder: Path) -> None:
        self.check, self.folder = check, folder
        changes = read_yaml(_TINY if check.small else _DEMO)
        self.config = validate(merge(read_yaml(DEFAULT_CONFIG), changes))
        self.data = ["--data", folder / "data", "--trial", 1]
        self.compute = ["--device", check.device, "--threads", check.threads]
        self.seconds: dict[str, list[float]] = {}
        """Stage -> seconds of its last job, and those outside of its work."""

    def start(self) -> None:
        """Make the data and train stage one."""
        raw, data, here = self.folder / "raw", self.folder / "data", self.folder / round_name(0)
        self._run("synthesize", "--out", raw)
        words = ["--root", raw, "--layout", "regdb", "--allow-subset", "--out", data]
        self._run("preprocess", *words)
        words = ["--checkpoint", here / "checkpoint.pt", "--losses", here / "losses.csv"]
        self._run("pretrain", *self.data, *self.compute, *words)

    def add_round(self, round_: int) -> None:
        """Associate and train a round."""
        before, here = (self.folder / round_name(number) for number in (round_ - 1, round_))
        given = [*self.data, *self.compute, "--checkpoint", before / "checkpoint.pt"]
        self._run("associate", *given, "--labels", here / "labels.csv")
        if round_ > 1:
            given += ["--optimizer-state", before / "optimizer.pt"]
        given += ["--round", round_, "--labels", here / "labels.csv"]
        words = ["--losses", here / "losses.csv", "--out-checkpoint", here / "checkpoint.pt"]
        words += ["--out-optimizer-state", here / "optimizer.pt"]
        self._run("train", *given, *words)

    def rank1(self, round_: int) -> dict[str, float]:
        """Return the rank-1 of a round in percent, by direction."""
        here, identities = self.folder / round_name(round_), self.folder / "data/identities.csv"
        words = ["--checkpoint", here / "checkpoint.pt", "--identities", identities]
        words += ["--metrics", here / "metrics.json", "--rankings", here / "rankings.json"]
        self._run("evaluate", *self.data, *self.compute, *words)
        settings = json.loads((here / "metrics.json").read_text(encoding="utf-8"))["settings"]
        return {name: 100 * ways["none"][0]["cmc"][0] for name, ways in settings.items()}

    def _run(self, stage: str, *words: object) -> None:
        record, flags = self.folder / "job.json", shlex.split(stage_flags(self.config, stage))
        started = time.monotonic()
        line = ("salcr", stage, *words, "--job", record, *flags)
        done = self.check.run(*line, limit=240)
        taken = time.monotonic() - started
        if done.returncode:
            raise Failed(f"{stage}: {_last_lines(done.stdout)}")
        work = json.loads(record.read_text(encoding="utf-8"))["seconds"]
        self.seconds[stage] = [round(taken, 1), round(taken - work, 1)]


def _last_lines(output: str) -> str:
    return " | ".join(output.strip().splitlines()[-3:])
