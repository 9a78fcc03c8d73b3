"""A data set and settings so small that every stage takes a second or two."""

from __future__ import annotations

from pathlib import Path

from salcr import files
from salcr.__main__ import main
from salcr.data.store import IDENTITIES, SUMMARY

TINY_CONFIG = Path(__file__).parent / "tiny.yaml"

SYNTHESIZE = [
    "--synthesize-num-identities", "12", "--synthesize-images-per-identity", "5",
    "--synthesize-num-trials", "2", "--synthesize-height", "64", "--synthesize-width", "32",
]  # fmt: skip
PREPROCESS = ["--preprocess-height", "64", "--preprocess-width", "32", "--allow-subset"]
PRETRAIN = [
    "--model-backbone", "resnet18", "--model-width", "8", "--model-weights", "random",
    "--clustering-k1", "6", "--clustering-k2", "2", "--clustering-eps", "0.7",
    "--clustering-min-samples", "2", "--augment-pad", "2", "--pretrain-epochs", "2",
    "--pretrain-iterations", "3", "--pretrain-clusters", "3", "--pretrain-instances", "4",
    "--pretrain-learning-rate", "1e-3",
]  # fmt: skip
ASSOCIATE = [
    "--clustering-k1", "6", "--clustering-k2", "2", "--clustering-eps", "0.7",
    "--clustering-min-samples", "2", "--associate-cmfp-k", "4",
    "--associate-stop-on-collapse", "false",
]  # fmt: skip
TRAIN = [
    "--augment-pad", "2", "--train-iterations", "3", "--train-labels", "4",
    "--train-instances", "3", "--train-learning-rate", "1e-3", "--gpcr-k", "6",
]  # fmt: skip


def run(*words: object) -> int:
    """Run `python -m salcr ...` in this process and return its exit status."""
    return main([str(word) for word in words])


def make_data(folder: Path) -> Path:
    """Synthesize and preprocess the tiny data set; return the folder written by preprocess."""
    assert run("synthesize", "--out", folder / "raw", "--seed", 3, *SYNTHESIZE) == 0
    words = ["--root", folder / "raw", "--layout", "regdb", "--out", folder / "data"]
    assert run("preprocess", *words, *PREPROCESS) == 0
    return folder / "data"


def accept_identities(data: Path) -> None:
    """Make preprocess.json describe identities.csv in its current state, changed by a test."""
    summary = files.read_json(data / SUMMARY)
    summary["sha256"][IDENTITIES] = files.sha256(data / IDENTITIES)
    files.write_json(data / SUMMARY, summary)


def pretrain(data: Path, out: Path, *extra: object, trial: int = 1) -> int:
    """Run stage one into OUT/round00."""
    return run(*pretrain_words(data, out, trial=trial), *extra)


def pretrain_words(data: Path, out: Path, *, trial: int = 1) -> list[object]:
    """Return the command of stage one into OUT/round00."""
    words = ["--data", data, "--trial", trial, "--checkpoint", out / "round00/checkpoint.pt"]
    return ["pretrain", *words, "--losses", out / "round00/losses.csv", *PRETRAIN]


def associate(data: Path, out: Path, round_: int, *extra: object) -> int:
    """Run the association of a round."""
    return run(*associate_words(data, out, round_), *extra)


def associate_words(data: Path, out: Path, round_: int) -> list[object]:
    """Return the command line of the association of a round."""
    before, here = folder(out, round_ - 1), folder(out, round_)
    words: list[object] = ["associate", "--data", data, "--trial", 1]
    words += ["--checkpoint", before / "checkpoint.pt", "--labels", here / "labels.csv"]
    return [*words, *ASSOCIATE]


def label_quality(data: Path, out: Path, rounds: int) -> int:
    """Measure the labels of the first rounds."""
    return run(*label_quality_words(data, out, rounds))


def label_quality_words(data: Path, out: Path, rounds: int) -> list[object]:
    """Return the command line that measures the labels of the first rounds."""
    words: list[object] = ["label-quality", "--data", data, "--trial", 1]
    words += ["--identities", data / "identities.csv", "--labels"]
    words += [folder(out, round_) / "labels.csv" for round_ in range(1, rounds + 1)]
    return [*words, "--label-quality", out / "label_quality.json"]


def train(data: Path, out: Path, round_: int, *extra: object) -> int:
    """Run the training of a round."""
    return run(*train_words(data, out, round_), *extra)


def train_words(data: Path, out: Path, round_: int) -> list[object]:
    """Return the command line of the training of a round."""
    before, here = folder(out, round_ - 1), folder(out, round_)
    words: list[object] = ["train", "--data", data, "--trial", 1, "--round", round_]
    words += ["--labels", here / "labels.csv", "--checkpoint", before / "checkpoint.pt"]
    words += ["--losses", here / "losses.csv", "--out-checkpoint", here / "checkpoint.pt"]
    words += ["--out-optimizer-state", here / "optimizer.pt"]
    if round_ > 1:
        words += ["--optimizer-state", before / "optimizer.pt"]
    return [*words, *TRAIN]


def evaluate(data: Path, out: Path, round_: int, *extra: object, trial: int = 1) -> int:
    """Run the evaluation of a round."""
    return run(*evaluate_words(data, out, round_, trial=trial), *extra)


def evaluate_words(data: Path, out: Path, round_: int, *, trial: int = 1) -> list[object]:
    """Return the command line of the evaluation of a round."""
    here = folder(out, round_)
    words: list[object] = ["evaluate", "--data", data, "--trial", trial]
    words += ["--checkpoint", here / "checkpoint.pt", "--identities", data / "identities.csv"]
    return [*words, "--metrics", here / "metrics.json", "--rankings", here / "rankings.json"]


def analyze_words(data: Path, out: Path, round_: int, to: Path | None = None) -> list[object]:
    """Return the command line that analyzes the network of a round."""
    here = folder(out, round_)
    words: list[object] = ["analyze", "--data", data, "--trial", 1]
    words += ["--checkpoint", here / "checkpoint.pt", "--identities", data / "identities.csv"]
    for name in ("distances.json", "tsne.csv", "attention.json"):
        words += [f"--{name.partition('.')[0]}", (to or here) / name]
    return words


def cluster_centers_words(
    data: Path, out: Path, round_: int, to: Path | None = None
) -> list[object]:
    """Return the command line that finds the cluster centers of a round."""
    before, here = folder(out, round_ - 1), folder(out, round_)
    words: list[object] = ["cluster-centers", "--data", data, "--trial", 1]
    words += ["--checkpoint", before / "checkpoint.pt", "--labels", here / "labels.csv"]
    words += [
        "--identities",
        data / "identities.csv",
        "--cluster-centers",
        (to or here) / "cluster_centers.csv",
    ]
    return [*words, "--associate-cmfp-k", "4"]


def rounds(data: Path, out: Path, first: int, last: int, *extra: object) -> int:
    """Associate and train several rounds in one job."""
    before = folder(out, first - 1)
    words: list[object] = ["rounds", "--data", data, "--trial", 1, "--folder", out]
    words += ["--first", first, "--last", last, "--checkpoint", before / "checkpoint.pt"]
    if first > 1:
        words += ["--optimizer-state", before / "optimizer.pt"]
    return run(*words, *ASSOCIATE, *TRAIN, *extra)


def folder(out: Path, round_: int) -> Path:
    """Return the folder of a round."""
    return out / f"round{round_:02d}"
