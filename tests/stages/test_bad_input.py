"""Bad input: a clear message that names the file or key, exit status 1, nothing half-written."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from salcr.data.labels import read_labels, write_labels
from salcr.data.store import load_split
from tests.support import tiny


@pytest.fixture(scope="module")
def source(stage_one: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with data, raw and preprocessed, stage one and the labels of round 1."""
    folder = Path(shutil.copytree(stage_one, tmp_path_factory.mktemp("source") / "copy"))
    assert tiny.associate(folder / "data", folder, 1) == 0
    return folder


@pytest.fixture
def run_copy(source: Path, tmp_path: Path) -> Path:
    """Return a copy of `source` that a test may damage."""
    shutil.copytree(source, tmp_path / "copy")
    return tmp_path / "copy"


def preprocess(run_copy: Path, out: str = "again") -> int:
    """Preprocess the raw data set of `run_copy`."""
    words = ["--root", run_copy / "raw", "--layout", "regdb", "--out", run_copy / out]
    return tiny.run("preprocess", *words, *tiny.PREPROCESS)


def printed_error(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what was printed, after checking that it is one error without a traceback."""
    text = capsys.readouterr().err
    assert "Traceback" not in text
    assert sum(line.startswith("error: ") for line in text.splitlines()) == 1
    return text


def test_no_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without data, the message names the path, the layout, the source and `make demo`."""
    words = ["--root", tmp_path / "RegDB", "--layout", "regdb", "--out", tmp_path / "out"]
    assert tiny.run("preprocess", *words) == 1
    text = printed_error(capsys)
    for part in (str(tmp_path / "RegDB"), "Visible/<identity>", "dm.dongguk.edu", "make demo"):
        assert part in text
    assert not (tmp_path / "out").exists()


def test_missing_images_are_listed(run_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every missing image that a split names is listed, with the split file."""
    gone = [
        run_copy / "raw/Visible/1/visible_00001.bmp",
        run_copy / "raw/Thermal/2/thermal_00003.bmp",
    ]
    for path in gone:
        path.unlink()
    assert preprocess(run_copy) == 1
    text = printed_error(capsys)
    assert all(path.relative_to(run_copy / "raw").as_posix() in text for path in gone)
    assert "idx/test_" in text and not (run_copy / "again").exists()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("Visible/1/visible_00001.bmp", "expected `path label`"),
        ("Visible/1/visible_00001.bmp five", "expected `path label`"),
        ("../../secret.bmp 0", "points outside the data set"),
        ("/etc/passwd 0", "points outside the data set"),
    ],
)
def test_broken_split_lines_are_named(
    run_copy: Path, capsys: pytest.CaptureFixture[str], line: str, complaint: str
) -> None:
    """A malformed line, or one that leaves the folder, is rejected with file and line number."""
    path = run_copy / "raw/idx/train_visible_1.txt"
    path.write_text(path.read_text() + line + "\n")
    assert preprocess(run_copy) == 1
    text = printed_error(capsys)
    assert f"{path}, line 31" in text and complaint in text


def test_backslashes_are_named(run_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A list that was written on Windows: the message says so, and its command corrects it."""
    path = run_copy / "raw/idx/train_visible_1.txt"
    before = path.read_text()
    path.write_text(before.replace("/", "\\"))
    assert preprocess(run_copy) == 1
    text = printed_error(capsys)
    assert f"{path}, line 1: Visible\\" in text and "Windows" in text
    subprocess.run(text.partition("for example with: ")[2].strip(), shell=True, check=True)
    assert path.read_text() == before and preprocess(run_copy) == 0


def test_windows_line_ends_and_spaces_are_harmless(run_copy: Path) -> None:
    """Split files with CRLF, trailing spaces and empty lines give the same manifest."""
    for path in (run_copy / "raw/idx").iterdir():
        lines = path.read_text().splitlines()
        path.write_bytes("\r\n".join([f"{line}  " for line in lines] + ["", ""]).encode())
    assert preprocess(run_copy) == 0
    assert (run_copy / "again/manifest.csv").read_bytes() == (
        run_copy / "data/manifest.csv"
    ).read_bytes()


@pytest.mark.parametrize("content", [b"", b"BM not a picture", None])
def test_undecodable_images_are_named(
    run_copy: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    """An empty, foreign or truncated image is named, and no array is left behind."""
    path = run_copy / "raw/Visible/3/visible_00002.bmp"
    path.write_bytes(path.read_bytes()[:900] if content is None else content)
    assert preprocess(run_copy) == 1
    assert str(path) in printed_error(capsys)
    assert not (run_copy / "again/visible.npy").exists()


def test_train_and_test_may_not_overlap(run_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A split that tests on a training image is rejected: its metrics would be inflated."""
    index = run_copy / "raw/idx"
    shutil.copy(index / "train_visible_1.txt", index / "test_visible_1.txt")
    assert preprocess(run_copy) == 1
    assert "trial 1 trains and tests on the same image" in printed_error(capsys)


def test_a_model_is_tied_to_its_trial(run_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Evaluating a model on the split of another trial is rejected."""
    assert tiny.evaluate(run_copy / "data", run_copy, 0, trial=2) == 1
    text = printed_error(capsys)
    assert "round00/checkpoint.pt" in text and "trial 1, not on 2" in text
    assert not (run_copy / "round00/metrics.json").exists()


def test_unknown_trial(run_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A trial that the data set does not have is rejected, listing the available ones."""
    assert tiny.pretrain(run_copy / "data", run_copy / "out", trial=7) == 1
    assert "trial 7; its trials: [1, 2]" in printed_error(capsys)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "foreign"])
def test_damaged_checkpoints_are_named(
    run_copy: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    """A truncated or foreign checkpoint, or one with a flipped bit, is named."""
    path = run_copy / "round00/checkpoint.pt"
    content = path.read_bytes()
    half = len(content) // 2
    changed = {
        "truncated": content[:half],
        "flipped": content[:-half] + bytes([content[-half] ^ 1]) + content[1 - half :],
        "foreign": b"hello",
    }
    path.write_bytes(changed[damage])
    assert tiny.associate(run_copy / "data", run_copy, 1) == 1
    text = printed_error(capsys)
    assert str(path) in text and "run" in text


def test_checkpoints_execute_no_code(run_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pickle that would run a command when loaded is rejected, without running the command."""

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (run_copy / "hacked",))  # type: ignore[return-value]

    torch.save({"format": 1, "state": Evil()}, run_copy / "round00/checkpoint.pt")
    assert tiny.associate(run_copy / "data", run_copy, 1) == 1
    printed_error(capsys)
    assert not (run_copy / "hacked").exists()


def test_labels_of_another_split_are_refused(
    run_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A label file with a wrong number of images is named."""
    path = run_copy / "round01/labels.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    assert tiny.train(run_copy / "data", run_copy, 1) == 1
    assert str(path) in printed_error(capsys)
    assert not (run_copy / "round01/checkpoint.pt").exists()


def test_labels_of_another_trial_are_refused(
    run_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All trials of RegDB have equally many images: the label file names its own trial."""
    path = run_copy / "round01/labels.csv"
    path.write_text(path.read_text().replace("\n1,", "\n2,"))
    assert tiny.train(run_copy / "data", run_copy, 1) == 1
    assert f"{path}: does not hold labels of trial 1" in printed_error(capsys)


def test_the_optimizer_and_the_network_must_be_of_the_last_round(
    run_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network or an optimizer state from another round is rejected."""
    assert tiny.train(run_copy / "data", run_copy, 1) == 0
    shutil.copytree(run_copy / "round01", run_copy / "round03")
    assert tiny.associate(run_copy / "data", run_copy, 4) == 0
    capsys.readouterr()
    assert tiny.train(run_copy / "data", run_copy, 4) == 1
    assert "round03/checkpoint.pt: is of round 1, not 3" in printed_error(capsys)


def test_array_of_another_preprocessing_is_refused(
    run_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A truncated array is named before any training."""
    path = run_copy / "data/visible.npy"
    path.write_bytes(path.read_bytes()[:-100])
    assert tiny.pretrain(run_copy / "data", run_copy / "out") == 1
    assert str(path) in printed_error(capsys)


def test_no_cluster_stops_with_what_to_change(
    run_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If every image is an outlier, the message names the keys to change."""
    words = ["--clustering-eps", "0.001", "--clustering-min-samples", "30"]
    assert tiny.pretrain(run_copy / "data", run_copy / "out", *words) == 1
    text = printed_error(capsys)
    assert "clustering.eps" in text and "clustering.min_samples" in text
    assert not (run_copy / "out").exists()


def test_fewer_clusters_than_requested_give_a_smaller_batch(
    run_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With fewer clusters than requested, both stages warn and continue."""
    assert tiny.pretrain(run_copy / "data", run_copy / "out", "--pretrain-clusters", "50") == 0
    assert "warning: visible: fewer clusters than the 50" in capsys.readouterr().err
    assert tiny.train(run_copy / "data", run_copy, 1, "--train-labels", "100") == 0
    assert "a batch has 50" in capsys.readouterr().err


def test_no_shared_label_stops_with_what_to_change(
    run_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If no label is in both modalities, there is nothing to train on: the message says so."""
    path = run_copy / "round01/labels.csv"
    split = load_split(run_copy / "data", trial=1, split="train")
    labels, clusters = read_labels(path, trial=1, sizes=split.sizes, data_hash=split.data_hash)
    none = np.full(len(split.images["infrared"]), -1)
    cleared = labels._replace(infrared=none, infrared_to_visible=none)
    write_labels(path, cleared, clusters, trial=1, data_hash=split.data_hash)
    assert tiny.train(run_copy / "data", run_copy, 1) == 1
    assert "do not share a pseudo-label" in printed_error(capsys)


def test_diverging_loss_stops_with_what_to_change(
    run_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A non-finite loss or feature stops the stage and the message names the learning rate."""
    assert (
        tiny.pretrain(run_copy / "data", run_copy / "out", "--pretrain-learning-rate", "1e20") == 1
    )
    text = printed_error(capsys)
    assert "not finite" in text and "pretrain.learning_rate" in text
    assert not (run_copy / "out").exists()


def test_no_positive_instance_gives_a_refinement_loss_of_zero(run_copy: Path) -> None:
    """With k = 1 most triplets have no positive: the loss remains finite."""
    assert tiny.train(run_copy / "data", run_copy, 1, "--gpcr-k", "1") == 0
    header, values = (run_copy / "round01/losses.csv").read_text().splitlines()
    loss = dict(zip(header.split(","), map(float, values.split(",")), strict=True))
    assert 0 <= loss["refine"] < 20 and loss["total"] > 0


def test_weights_must_fit_the_backbone(run_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A state dict of another network is rejected with the first entry that does not fit."""
    path = run_copy / "other.pth"
    torch.save({"conv1.weight": torch.zeros(3)}, path)
    words = ["--model-weights", str(path), "--weights-file", path]
    assert tiny.pretrain(run_copy / "data", run_copy / "out", *words) == 1
    text = printed_error(capsys)
    assert str(path) in text and "model.backbone resnet18" in text


def test_synthesize_refuses_foreign_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder with other files is rejected and left unchanged."""
    (tmp_path / "thesis.tex").write_text("mine")
    assert tiny.run("synthesize", "--out", tmp_path, *tiny.SYNTHESIZE) == 1
    assert "thesis.tex" in {path.name for path in tmp_path.iterdir()}
    assert str(tmp_path) in printed_error(capsys)


@pytest.mark.parametrize("out", [".", "..", "../../here", "link"])
def test_synthesize_does_not_replace_the_working_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    """By whatever name, and empty or not: the shell would be left in a folder that is gone."""
    here = tmp_path / "here"
    (here / "inside").mkdir(parents=True)
    (here / "inside/link").symlink_to(here)
    monkeypatch.chdir(here / "inside")
    assert tiny.run("synthesize", "--out", out, *tiny.SYNTHESIZE) == 1
    assert f"--out {out}: the command runs in this folder" in printed_error(capsys)
    assert (here / "inside/link").exists()


@pytest.mark.parametrize(
    ("flag", "value", "part"),
    [("--pretrain-epochs", "0", "`pretrain.epochs` is 0"), ("--augment-jitter", "2", "`augment.")],
)
def test_flags_out_of_range_are_named(
    run_copy: Path, capsys: pytest.CaptureFixture[str], flag: str, value: str, part: str
) -> None:
    """A flag out of its range stops before anything is loaded, named as in the configuration."""
    assert tiny.pretrain(run_copy / "data", run_copy / "out", flag, value) == 1
    assert part in printed_error(capsys)
