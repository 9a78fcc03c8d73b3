"""What the workflow makes of a configuration: the runs, and the names of their files.

Nothing here imports torch, and only `check_named_files` reads the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from salcr.config.loading import pretraining_owner, validate, variant
from salcr.config.paths import TRIAL
from salcr.config.runs import Run, round_name, trial_name
from salcr.config.schema import WEIGHTS, Config
from salcr.errors import SalcrError


class NamedFile(NamedTuple):
    """A file that the configuration names and the workflow does not make."""

    key: str
    path: str
    remedy: str
    """What to do where it is missing."""


@dataclass(frozen=True)
class Plan:
    """A checked configuration and the runs that it asks for.

    Paths are strings relative to the working folder, as Snakemake takes them.
    """

    config: Config
    variants: Mapping[str, Config]
    """Variant -> the configuration with its overlay, in the order of `config.variants`."""
    runs: Mapping[str, Run]
    """Variant -> its run, in the same order."""
    has_test: bool = True
    """Whether there are test images; without them nothing is evaluated, nor what needs scores."""

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Plan:
        """Return the plan of a configuration.

        Args:
            values: key -> value, with all overlays merged.

        Raises:
            SalcrError: a key is unknown, missing or out of range.
        """
        config = validate(values)
        variants = {name: variant(config, name) for name in config.variants}
        runs = {
            name: Run(name, pretraining_owner(variants, name), settings.rounds)
            for name, settings in variants.items()
        }
        return cls(config, variants, runs)

    @property
    def results(self) -> Path:
        """Return the folder of results."""
        return Path("results", self.config.dataset.name)

    @property
    def first(self) -> Run:
        """Return the first run: the plain method, where it is among the variants."""
        return next(iter(self.runs.values()))

    @property
    def evaluate_every(self) -> int:
        """Return the number of rounds between evaluations; 0 if nothing is evaluated."""
        return self.config.evaluate_every if self.has_test else 0

    def check_test(self, what: str) -> None:
        """Check that there are test images.

        Args:
            what: needs them, for the message.

        Raises:
            SalcrError: there are none.
        """
        if not self.has_test:
            raise SalcrError(
                f"{what}: {self.config.dataset.root} has no test images, from which scores are "
                "computed; add test.csv and its pictures (docs/data.md)"
            )

    def file(self, run: Run, trial: int, round_: int, name: str) -> str:
        """Return a file of one round; those of round 0 belong to the owner of the stage one."""
        # Not by way of a Path: a plan of the paper's tables has a hundred thousand names.
        return f"{self._trial(run.of_round(round_), trial)}/{round_name(round_)}/{name}"

    def trial_file(self, variant: str, trial: int, name: str) -> str:
        """Return a file of one variant and trial."""
        return f"{self._trial(variant, trial)}/{name}"

    def trial_files(self, name: str) -> list[str]:
        """Return a file of each variant and trial."""
        trials = self.config.dataset.trials
        return [self.trial_file(variant, trial, name) for variant in self.runs for trial in trials]

    def stage_two_trials(self, name: str) -> list[str]:
        """Return a file of each variant and trial that has rounds of stage two."""
        trials = self.config.dataset.trials
        runs = [run for run in self.runs.values() if run.rounds]
        return [self.trial_file(run.variant, trial, name) for run in runs for trial in trials]

    def stage_one(self, name: str) -> list[str]:
        """Return a file of each stage one, once where variants share it."""
        return self._files(name, lambda run: [0])

    def stage_two(self, name: str) -> list[str]:
        """Return a file of each round of stage two."""
        return self._files(name, lambda run: range(1, run.rounds + 1))

    def every_round(self, name: str) -> list[str]:
        """Return a file of each round, stage one's included."""
        return self._files(name, lambda run: range(run.rounds + 1))

    def evaluated(self, name: str) -> list[str]:
        """Return a file of each round that is evaluated."""
        return self._files(name, lambda run: run.evaluated(self.evaluate_every))

    def last(self, run: Run, trial: int, name: str) -> str:
        """Return a file of a run's last round, which is stage one's without stage two."""
        return self.file(run, trial, run.rounds, name)

    def training_jobs(self, run: Run, trial: int) -> list[str]:
        """Return what is known about each training and association behind a run's last round."""
        jobs = [self.file(run, trial, 0, "jobs/pretrain.json")]
        for round_ in range(1, run.rounds + 1):
            jobs += [
                self.file(run, trial, round_, f"jobs/{stage}.json")
                for stage in ("associate", "train")
            ]
        return jobs

    @property
    def study_rows(self) -> Path:
        """Return the csv of the study's finished starts."""
        return Path(self.config.study.rows or self.results / "study.csv")

    def study_starts(self) -> list[tuple[str, int]]:
        """Return variant and trial of each start of the study."""
        trials, counts = self.config.dataset.trials, self.config.study.starts
        return [(name, trial) for name in self.runs for trial in trials[: counts.get(name)]]

    def labels(self, variant: str, trial: int) -> list[str]:
        """Return the label file of each round of stage two, in their order."""
        run = self.runs[variant]
        return [self.file(run, trial, r, "labels.csv") for r in range(1, run.rounds + 1)]

    def previous(self, variant: str, trial: int, round_: int, name: str) -> str:
        """Return a file of the round before, which for round 1 is stage one's."""
        return self.file(self.runs[variant], trial, round_ - 1, name)

    def given_checkpoint(self, variant: str, trial: int) -> str | None:
        """Return the checkpoint that takes the place of stage one, if the configuration has one."""
        path = self.variants[variant].pretrain.checkpoint
        return path.replace(TRIAL, str(trial)) if path else None

    def initial_weights(self, variant: str) -> str | None:
        """Return the state dict that stage one is given; None where it needs none.

        The packaged one is part of the code, whatever the folder in which the workflow runs.
        """
        settings = self.variants[variant]
        if settings.model.weights in ("random", "synthetic") or settings.pretrain.checkpoint:
            return None
        if settings.model.weights == "imagenet":
            return f"data/weights/{settings.model.backbone}.pth"
        return settings.model.weights

    def named_files(self) -> Iterator[NamedFile]:
        """Yield each file that the configuration names and the workflow does not make."""
        if other := self.config.transfer.checkpoint:
            yield NamedFile("transfer.checkpoint", other, "train on that data set first")
        for name, settings in self.variants.items():
            weights = settings.model.weights
            if weights not in WEIGHTS:
                yield NamedFile("model.weights", weights, "correct the key, or put it there")
            for trial in self.config.dataset.trials:
                if given := self.given_checkpoint(name, trial):
                    remedy = "make it with `import-checkpoint`"
                    yield NamedFile("pretrain.checkpoint", given, remedy)

    def check_named_files(self) -> None:
        """Check that the files that the configuration names are there.

        Snakemake alone would not miss an input of jobs that are done, and keep their results.

        Raises:
            SalcrError: one is missing.
        """
        for key, path, remedy in self.named_files():
            try:
                exists = Path(path).exists()
            except OSError as error:  # such as a folder that may not be read
                raise SalcrError(f"{key}: {path}: cannot be read ({error.strerror})") from None
            if not exists:
                raise SalcrError(f"{key}: {path}: no such file; {remedy}")

    def check_trials(self, found: Iterable[int]) -> None:
        """Check that all trials to run have split files.

        Args:
            found: trials that have.

        Raises:
            SalcrError: one has not.
        """
        dataset, found = self.config.dataset, sorted(found)
        if missing := [trial for trial in dataset.trials if trial not in found]:
            raise SalcrError(
                f"dataset.trials: {dataset.root} has no split files of trial {missing[0]}, but of "
                f"{', '.join(map(str, found)) or 'none'}; correct the key, or put them there"
            )

    def training_logs(self) -> dict[Path, Path]:
        """Return checkpoint -> log of the job that writes it, over variants, trials and rounds."""
        logs = {}
        for checkpoint in map(Path, self.every_round("checkpoint.pt")):
            job = "-".join(checkpoint.parts[-4:-1])  # variant, trial, round
            stage = "pretrain" if job.endswith("-round00") else "train"
            log = f"logs/{stage}/{job.removesuffix('-round00')}.log"
            logs[checkpoint] = self.results / log
        return logs

    @cached_property
    def _root(self) -> str:
        return str(self.results)

    def _trial(self, variant: str, trial: int) -> str:
        """Return the folder of one variant and trial."""
        return f"{self._root}/{variant}/{trial_name(trial)}"

    def _files(self, name: str, rounds: Callable[[Run], Iterable[int]]) -> list[str]:
        """Return a file of all variants, trials and some rounds, sorted, each once."""
        return sorted(
            {
                self.file(run, trial, round_, name)
                for run in self.runs.values()
                for trial in self.config.dataset.trials
                for round_ in rounds(run)
            }
        )
