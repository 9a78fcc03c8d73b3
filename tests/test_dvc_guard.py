"""Files that were not pulled are distinguished from unfinished ones, on made-up folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from salcr.config.loading import DEFAULT_CONFIG, validate
from salcr.config.reading import merge, read_configuration
from salcr.dvc import check_pulled, raw_files
from salcr.errors import SalcrError
from tests.support.plans import REPOSITORY

if TYPE_CHECKING:
    from snakemake.persistence.file import FilePersistence

RESULTS = Path("results/regdb")
LONG = "x" * 250  # the name of its record would exceed the limit, so it gets a folder
CHECKPOINTS = {
    RESULTS / "salcr/trial01/round00/checkpoint.pt": RESULTS / "logs/pretrain.log",
    RESULTS / LONG / "round01/checkpoint.pt": RESULTS / "logs/train.log",
}
MISSING = list(CHECKPOINTS)[1]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FilePersistence:
    """Return Snakemake's records of both checkpoints, in a folder where only the second is missing.

    They come from Snakemake: its naming scheme is not repeated here.
    """
    from snakemake.persistence.file import FilePersistence

    monkeypatch.chdir(tmp_path)
    lock = {"stages": {"workflow": {"outs": [{"path": "results/regdb"}, {"path": "other"}]}}}
    Path("dvc.lock").write_text(yaml.safe_dump(lock), encoding="utf-8")
    first, _ = CHECKPOINTS
    first.parent.mkdir(parents=True)
    first.touch()
    snakemake = FilePersistence()
    for path in CHECKPOINTS:
        snakemake._io_write(snakemake._metadata_path, {}, str(path))
    return snakemake


def test_a_checkpoint_that_was_not_pulled_is_refused_by_name(here: FilePersistence) -> None:
    """With a record and no log, or a log of a completed job, the file was created elsewhere."""
    log = CHECKPOINTS[MISSING]
    log.parent.mkdir()
    for text in (None, "12:00:00 train: finished after 3.0 s\n"):
        if text:
            log.write_text(text)
        with pytest.raises(SalcrError, match="dvc pull") as caught:
            check_pulled(RESULTS, lambda: CHECKPOINTS)
        assert str(MISSING) in str(caught.value) and "1 of 2" in str(caught.value)


def test_what_a_stopped_job_left_undone_is_not(here: FilePersistence) -> None:
    """A log without the last line, or Snakemake's mark of an incomplete job: it may run again."""
    log = CHECKPOINTS[MISSING]
    log.parent.mkdir()
    log.write_text("12:00:00 train, trial 1\nerror: out of memory\n")
    check_pulled(RESULTS, lambda: CHECKPOINTS)
    log.unlink()
    here._mark_incomplete(str(MISSING), None)
    check_pulled(RESULTS, lambda: CHECKPOINTS)


def test_a_checkpoint_without_a_record_is_not(here: FilePersistence) -> None:
    """An additional round has no record yet."""
    new = {RESULTS / "salcr/trial01/round02/checkpoint.pt": RESULTS / "logs/other.log"}
    known = {path: log for path, log in CHECKPOINTS.items() if path.exists()}
    check_pulled(RESULTS, lambda: {**known, **new})


def test_records_of_other_results_do_not_count(here: FilePersistence) -> None:
    """After a demo in a fresh clone there are records, but none of the tracked results."""
    for path in CHECKPOINTS:
        here._io_delete(here._metadata_path, str(path))
    here._io_write(here._metadata_path, {}, "results/demo/summary.csv")
    with pytest.raises(SalcrError, match="has no record of it") as caught:
        check_pulled(RESULTS, lambda: CHECKPOINTS)
    assert "dvc pull" in str(caught.value) and "delete dvc.lock" in str(caught.value)


def test_only_tracked_results_are_guarded(here: FilePersistence) -> None:
    """Results that are not in a dvc.lock, or in a folder without one, belong to Snakemake alone."""

    def logs_of_untracked() -> dict[Path, Path]:
        raise AssertionError("tens of thousands of names for nothing")

    check_pulled(Path("results/demo"), logs_of_untracked)
    Path("dvc.lock").unlink()
    check_pulled(RESULTS, lambda: CHECKPOINTS)


def test_a_broken_lock_is_one_message(here: FilePersistence) -> None:
    """A dvc.lock that contains a merge conflict is named."""
    Path("dvc.lock").write_text("stages:\n<<<<<<< HEAD\n  workflow: [\n", encoding="utf-8")
    with pytest.raises(SalcrError, match=r"dvc\.lock: not valid YAML"):
        check_pulled(RESULTS, lambda: CHECKPOINTS)


def test_raw_files_are_the_split_files_and_the_record_of_dvc(tmp_path: Path) -> None:
    """Sorted split files, without hidden ones, and the folder's .dvc file, which changes."""
    root = tmp_path / "raw"
    (root / "idx").mkdir(parents=True)
    for name in ("b.txt", "a.txt", "other.png", "._a.txt"):
        (root / "idx" / name).touch()
    split_files = [f"{root}/idx/a.txt", f"{root}/idx/b.txt"]
    assert raw_files(root, "idx/*.txt", str) == split_files
    Path(f"{root}.dvc").touch()
    assert raw_files(root, "idx/*.txt", str) == [*split_files, f"{root}.dvc"]


@pytest.mark.parametrize("root", ["raw", "raw/", "./raw", "other/../raw", "other/.././raw//"])
def test_every_spelling_of_the_root_finds_the_record_of_dvc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str
) -> None:
    """The files are the same, by text, for all spellings of the folder in the configuration."""
    monkeypatch.chdir(tmp_path)
    for name in ("raw", "other"):
        Path(name).mkdir()
    for name in ("raw/a.txt", "raw.dvc"):
        Path(name).touch()
    values = merge(read_configuration(DEFAULT_CONFIG), {"dataset": {"root": root}})
    assert raw_files(Path(validate(values).dataset.root), "*.txt", str) == ["raw/a.txt", "raw.dvc"]


def test_missing_raw_files_are_one_message(tmp_path: Path) -> None:
    """The message of the reader; if DVC tracks the folder, how to fetch it instead."""
    root = tmp_path / "raw"
    with pytest.raises(SalcrError, match=r"^get .*raw elsewhere$"):
        raw_files(root, "idx/*.txt", "get {} elsewhere".format)
    Path(f"{root}.dvc").touch()
    with pytest.raises(SalcrError, match=r"raw is tracked by DVC but not here.*\n  dvc pull$"):
        raw_files(root, "idx/*.txt", "get {} elsewhere".format)


def test_plots_name_columns_of_the_results(finished_run: Path) -> None:
    """Every plot of dvc.yaml has its columns in the table that a run writes."""
    for plot in yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["plots"]:
        ((name, axes),) = plot.items()
        header = (finished_run / name.replace("regdb", "tiny")).read_text().splitlines()[0]
        wanted = [axes["x"], *([axes["y"]] if isinstance(axes["y"], str) else axes["y"])]
        assert set(wanted) <= set(header.split(","))
