"""Every command of `python -m salcr` on the results of a finished tiny workflow."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import torch

from salcr.models.network import Network
from tests.support import tiny
from tests.support.helpers import GOLDEN
from tests.support.plans import REPOSITORY
from tests.support.released import released_like

TINY, RAW = Path("results/tiny"), Path("data/tiny")
DATA, TRIAL = TINY / "preprocess", TINY / "salcr/trial01"
FIRST, LAST = TRIAL / "round00", TRIAL / "round01"
SYSU, INDEX = Path("sysu/preprocess"), Path("index")
QUERY = RAW / "Visible/1/visible_00001.bmp"
GOLDEN_FILES = (
    "jaccard", "sinkhorn", "cmfp", "association", "other_associations", "memory", "losses",
    "metrics", "rerank", "stage_one", "network", "network_cross",
)  # fmt: skip


class Read(NamedTuple):
    """A path that a command reads, relative to the folder of the run."""

    path: Path | str


class Write(NamedTuple):
    """A path that a command writes, relative to a folder for what it writes."""

    path: str


Flags = dict[str, object]
"""Flag -> a value or several: Read, Write, or anything that is not a path."""


class Command(NamedTuple):
    """A command that succeeds, and the files that it reads."""

    flags: Flags
    reads: tuple[Path, ...] = ()
    """Those whose content it must check: not images, and no text that it only shows."""


def _pairs(words: list[str]) -> dict[str, object]:
    return dict(zip(words[::2], words[1::2], strict=True))


_STORED = (DATA / "preprocess.json",)  # test_damage.py has what belongs to it
_IDENTITIES = DATA / "identities.csv"
_SPLIT: dict[str, object] = {"--data": Read(DATA), "--trial": 1}
_NETWORK: dict[str, object] = {"--checkpoint": Read(LAST / "checkpoint.pt")}
_RUNS: dict[str, object] = {
    "--dataset": "tiny", "--root": Read(TINY), "--runs": "salcr:salcr:1", "--trials": 1,
}  # fmt: skip
_PLOT: dict[str, object] = {
    "--data": "unused", "--png": Write("a.png"), "--pdf": Write("a.pdf"),
}  # fmt: skip
_JOBS = [LAST / "jobs" / f"{stage}.json" for stage in ("associate", "train", "evaluate")]
_TRAIN = _pairs(tiny.TRAIN)
_CLUSTERING = _pairs([
    "--clustering-k1", "3", "--clustering-k2", "2",
    "--clustering-eps", "0.7", "--clustering-min-samples", "2",
])  # fmt: skip
_ORIGINS = {"salcr": ["aa", "11+22"], "dagl": ["bb", "11+22"]}
_MATCHES = {"3": {"SALCR": ["salcr", "salcr"]}, "6": {"none": ["salcr", "salcr"]}}


def _plot(figure: str, path: Path, names: str = "salcr") -> Command:
    flags = {"--figure": figure, "--sources": Read(path), "--names": names, **_PLOT}
    if figure in ("ranking", "attention"):
        flags["--data"] = Read(DATA)
    return Command(flags, (path,))


# The word before the first blank is the command.
COMMANDS: dict[str, Command] = {
    "synthesize": Command({"--out": Write("raw"), "--seed": 3, **_pairs(tiny.SYNTHESIZE)}),
    "preprocess": Command(
        {
            "--root": Read(RAW), "--layout": "regdb", "--out": Write("data"), "--allow-subset": (),
            **_pairs(tiny.PREPROCESS[:4]),
        },
        (RAW / "idx/train_visible_1.txt",),
    ),
    "pretrain weights": Command(
        {
            **_SPLIT, "--checkpoint": Write("0/checkpoint.pt"), "--losses": Write("0/losses.csv"),
            "--curves": Write("curves"), **_pairs(tiny.PRETRAIN), "--model-weights": "file",
            "--weights-file": Read("weights.pth"), "--pretrain-epochs": 1,
        },
        (*_STORED, Path("weights.pth")),
    ),
    "pretrain checkpoint": Command(
        {
            **_SPLIT, "--checkpoint": Write("0/checkpoint.pt"), "--losses": Write("0/losses.csv"),
            **_pairs(tiny.PRETRAIN), "--pretrain-checkpoint": "given",
            "--from-checkpoint": Read(LAST / "checkpoint.pt"),
        },
        (LAST / "checkpoint.pt",),
    ),
    "associate": Command(
        {**_SPLIT, **_NETWORK, "--labels": Write("labels.csv"), **_pairs(tiny.ASSOCIATE)},
        (*_STORED, LAST / "checkpoint.pt"),
    ),
    "label-quality": Command(
        {
            **_SPLIT, "--labels": Read(LAST / "labels.csv"), "--identities": Read(_IDENTITIES),
            "--label-quality": Write("label_quality.json"),
        },
        (DATA / "preprocess.json", _IDENTITIES, LAST / "labels.csv"),
    ),
    "train": Command(
        {
            **_SPLIT, **_NETWORK, "--round": 2, "--labels": Read(LAST / "labels.csv"),
            "--optimizer-state": Read(LAST / "optimizer.pt"), "--curves": Write("curves"),
            "--out-checkpoint": Write("2/checkpoint.pt"),
            "--out-optimizer-state": Write("2/optimizer.pt"), "--losses": Write("2/losses.csv"),
            **_TRAIN, "--train-iterations": 1,
        },
        (*_STORED, LAST / "checkpoint.pt", LAST / "labels.csv", LAST / "optimizer.pt"),
    ),
    "rounds": Command(
        {
            **_SPLIT, **_NETWORK, "--folder": Write("trial"), "--first": 2, "--last": 3,
            "--optimizer-state": Read(LAST / "optimizer.pt"), "--curves": Write("curves"),
            **_pairs(tiny.ASSOCIATE), **_TRAIN, "--train-iterations": 1,
        },
        (*_STORED, LAST / "checkpoint.pt", LAST / "optimizer.pt"),
    ),
    "evaluate": Command(
        {
            **_SPLIT, **_NETWORK, "--identities": Read(_IDENTITIES),
            "--metrics": Write("metrics.json"), "--rankings": Write("rankings.json"),
            "--jobs": Write("evaluate.json"), "--curves": Write("curves"),
        },
        (*_STORED, _IDENTITIES, LAST / "checkpoint.pt"),
    ),
    "complexity": Command(
        {
            "--complexity": Write("complexity.json"), "--model-backbone": "resnet18",
            "--model-width": 4, "--model-weights": "random", "--preprocess-height": 32,
        }
    ),
    "transfer": Command(
        {
            "--data": Read(SYSU), "--trial": 1, "--identities": Read(SYSU / "identities.csv"),
            "--other": Read(DATA), **_NETWORK, "--metrics": Write("metrics.json"),
        },
        (SYSU / "preprocess.json", SYSU / "identities.csv", *_STORED, LAST / "checkpoint.pt"),
    ),
    "aggregate": Command(
        _RUNS,
        (
            FIRST / "metrics.json", LAST / "metrics.json", TRIAL / "label_quality.json",
            FIRST / "losses.csv", LAST / "losses.csv",
        ),
    ),
    "analyze": Command(
        {
            **_SPLIT, **_NETWORK, "--identities": Read(_IDENTITIES),
            "--distances": Write("distances.json"), "--tsne": Write("tsne.csv"),
            "--attention": Write("attention.json"),
        },
        (*_STORED, _IDENTITIES, LAST / "checkpoint.pt"),
    ),
    "cluster-centers": Command(
        {
            **_SPLIT, **_NETWORK, "--labels": Read(LAST / "labels.csv"),
            "--identities": Read(_IDENTITIES), "--cluster-centers": Write("centers.csv"),
            "--associate-cmfp-k": 4,
        },
        (*_STORED, _IDENTITIES, LAST / "labels.csv", LAST / "checkpoint.pt"),
    ),
    "plot losses": _plot("losses", TINY / "losses.csv"),
    "plot label_quality": _plot("label_quality", TINY / "label_quality.csv"),
    "plot cmc": _plot("cmc", TINY / "cmc.csv"),
    "plot map": _plot("map", TINY / "trials.csv"),
    "plot refinement_k": Command(
        {
            "--figure": "refinement_k", "--names": ("salcr=1", "dagl=2"), **_PLOT,
            "--sources": (Read(TINY / "summary.csv"), Read("published.csv")),
        },
        (TINY / "summary.csv", Path("published.csv")),
    ),
    "plot distances": _plot("distances", LAST / "distances.json"),
    "plot tsne": _plot("tsne", LAST / "tsne.csv"),
    "plot cluster_centers": _plot("cluster_centers", LAST / "cluster_centers.csv"),
    "plot ranking": _plot("ranking", LAST / "rankings.json"),
    "plot attention": _plot("attention", LAST / "attention.json"),
    "study-row": Command(
        {
            "--variant": "salcr", "--origin": _ORIGINS["salcr"], "--data": Read(DATA),
            "--metrics": Read(LAST / "metrics.json"),
            "--jobs": tuple(map(Read, [FIRST / "jobs/pretrain.json", *_JOBS])),
            "--rows": Read("study.csv"), "--row": Write("row.json"),
        },
        (
            LAST / "metrics.json", DATA / "preprocess.json", FIRST / "jobs/pretrain.json", *_JOBS,
            Path("study.csv"),
        ),
    ),
    "study": Command(
        {
            "--rows": Read("study.csv"), "--starts": Read("start.json"),
            "--origins": json.dumps(_ORIGINS), "--compare": '{"salcr": ["dagl"]}',
            "--table": Write("a.csv"), "--text": Write("a.md"), "--latex": Write("a.tex"),
            "--figures": (Write("a.png"), Write("a.pdf")), "--page": Read("page.md"),
        },
        (Path("study.csv"), Path("start.json"), Path("page.md")),
    ),
    "provenance": Command(
        {**_RUNS, "--data": Read(DATA)},
        (
            DATA / "preprocess.json", DATA / "jobs/preprocess.json", FIRST / "jobs/pretrain.json",
            TRIAL / "jobs/label_quality.json", *_JOBS,
        ),
    ),
    "tables": Command(
        {
            "--layout": "regdb", "--matches": json.dumps(_MATCHES), "--data": Read(DATA),
            "--trials": Read(TINY / "trials.csv"), "--complexity": Read("complexity.json"),
            "--jobs": Read(LAST / "jobs/evaluate.json"), "--transfer": Read("transfer.json"),
            "--published": Read("published.csv"), "--out": Write("tables"),
        },
        (
            DATA / "preprocess.json", TINY / "trials.csv", Path("complexity.json"),
            LAST / "jobs/evaluate.json", Path("transfer.json"), Path("published.csv"),
        ),
    ),
    "report": Command(
        {
            "--summary": Read(TINY / "summary.csv"), "--provenance": Read(TINY / "provenance.csv"),
            "--trials": Read(TRIAL / "provenance.json"), "--data": Read(DATA),
            "--figures": Read(TINY / "figures/cmc.png"), "--tables": Read("tables/table03.csv"),
            "--study": (Read("study.md"), Read("study.png")), "--times": Read(TINY / "benchmarks"),
            "--page": Write("report.html"),
        },
        (
            TINY / "summary.csv", TINY / "provenance.csv", TRIAL / "provenance.json",
            DATA / "preprocess.json", TINY / "figures/cmc.png", Path("tables/table03.csv"),
            Path("study.png"), TINY / "benchmarks/train/salcr-trial01-round01.tsv",
        ),
    ),
    "embed": Command(
        {"--images": Read(RAW / "Visible/1"), **_NETWORK, "--out": Write("index")},
        (LAST / "checkpoint.pt",),
    ),
    "join-index": Command({"--index": Read("shards")}),  # which are gone afterward
    "calibrate": Command(
        {"--index": Read(INDEX), "--identities": Read("people.csv")},
        (INDEX / "embed.json", INDEX / "index.faiss", INDEX / "files.csv", Path("people.csv")),
    ),
    "calibrate clusters": Command({"--index": Read(INDEX), **_CLUSTERING}),
    "search": Command(
        {
            "--index": Read(INDEX), **_NETWORK, "--query": Read(QUERY), "--top": 3,
            "--among": "all", "--json": Write("a.json"), "--sheet": Write("a.png"),
            "--page": Write("a.html"),
        },
        (LAST / "checkpoint.pt", INDEX / "embed.json", INDEX / "index.faiss", INDEX / "files.csv"),
    ),
    "serve": Command(  # until it is stopped: tests end it at once
        {"--index": Read(INDEX), **_NETWORK, "--port": 0},
        (LAST / "checkpoint.pt", INDEX / "embed.json", INDEX / "index.faiss", INDEX / "files.csv"),
    ),
    "export": Command(
        {**_NETWORK, "--modality": "visible", "--out": Write("a.onnx")}, (LAST / "checkpoint.pt",)
    ),
    "info": Command({"--directory": Read(Path())}),
    "verify": Command({"--golden": Read("golden")}, (Path("golden/cmfp.npz"),)),
    "import-checkpoint": Command(
        {"": (Read("released.pth"), Write("a.pt")), "--trial": 1, "--image-size": (64, 32)},
        (Path("released.pth"),),
    ),
}  # fmt: skip


def words_of(name: str, folder: Path, out: Path, flags: Flags | None = None) -> list[str]:
    """Return the words of a command, after `python -m salcr`.

    Args:
        name: a key of COMMANDS.
        folder: of the run, see `complete`.
        out: folder for what it writes.
        flags: instead of the command's own.
    """
    words = [name.split()[0]]
    for flag, value in (COMMANDS[name].flags if flags is None else flags).items():
        words += [flag] * bool(flag) + [_word(one, folder, out) for one in several(value)]
    return words


def _pictures(folder: Path) -> list[Path]:
    return sorted((folder / RAW / "Visible/1").iterdir())


def several(value: object) -> list[object]:
    """Return the values of a flag."""
    return [*value] if isinstance(value, list) or type(value) is tuple else [value]


def _word(value: object, folder: Path, out: Path) -> str:
    if isinstance(value, Read):
        return str(folder / value.path)
    return str(out / value.path) if isinstance(value, Write) else str(value)


def complete(folder: Path) -> None:
    """Add to the results of the workflow what other commands read."""
    words = ["--out", folder / "sysu/raw", "--layout", "sysu", "--seed", 4, *tiny.SYNTHESIZE]
    assert tiny.run("synthesize", *words) == 0
    words = ["--root", folder / "sysu/raw", "--layout", "sysu", "--out", folder / SYSU]
    assert tiny.run("preprocess", *words, *tiny.PREPROCESS) == 0
    torch.manual_seed(1)
    network = Network(backbone="resnet18", width=8, num_parts=1)
    trunk = {**network.visible_stem.state_dict(), **network.trunk.state_dict()}
    torch.save(trunk, folder / "weights.pth")
    released = released_like(Network(backbone="resnet18", width=64, num_parts=2))
    torch.save(released, folder / "released.pth")
    shutil.copytree(GOLDEN, folder / "golden")
    shutil.copy(REPOSITORY / "workflow/resources/published.csv", folder)
    (folder / "page.md").write_text("<!-- study table -->\n<!-- end of study table -->\n")
    lines = [f"{path.name},{number % 2}\n" for number, path in enumerate(_pictures(folder))]
    (folder / "people.csv").write_text("file,identity\n" + "".join(lines))
    for name in ("complexity", "study-row", "study", "transfer", "tables", "embed"):
        to = {"embed": folder, "tables": folder}.get(name, folder / "made" / name)
        if name == "study":
            shutil.copy(folder / "made/study-row/row.json", folder / "start.json")
        if name == "tables":
            shutil.copy(folder / "made/complexity/complexity.json", folder)
            shutil.copy(folder / "made/transfer/metrics.json", folder / "transfer.json")
        assert tiny.run(*words_of(name, folder, to)) == 0, name
    words = words_of("embed", folder, folder)[:-1]
    assert tiny.run(*words, folder / "shards", "--shard", "1/1") == 0
    shutil.copy(folder / "made/study/a.md", folder / "study.md")
    shutil.copy(folder / "made/study/a.png", folder / "study.png")
