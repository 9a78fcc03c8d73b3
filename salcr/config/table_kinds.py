"""The tables that are read: their columns, and who writes them."""

from __future__ import annotations

from salcr.config.kinds import Table

_SCORED = ("variant", "setting", "rerank")
_STAGES = {"stage": ("pretrain", "salcr")}
_MODALITIES = {"modality": ("visible", "infrared")}
_SCORES = ("rank1", "rank10", "rank20", "map", "minp")
_OPEN_SET = ("dir_far0.1", "dir_far0.01", "dir_far0.001")

SUMMARY = Table(
    "the summary.csv that `aggregate` writes",
    words=_SCORED,
    numbers=[f"{score}_{kind}" for score in _SCORES for kind in ("mean", "std")],
    optional=[
        *(f"{score}_{kind}" for score in _OPEN_SET for kind in ("mean", "std")),
        *("num_present", "num_absent"),
    ],
    wholes=["num_trials"],
    choices=_STAGES,
    may_be_empty=True,  # where there are no test images
)
TRIALS = Table(
    "the trials.csv that `aggregate` writes",
    words=_SCORED,
    numbers=["rank1", "map", "minp"],
    wholes=["round", "trial", "draw"],
    choices=_STAGES,
)
CMC = Table(
    "the cmc.csv that `aggregate` writes",
    words=_SCORED,
    numbers=["mean"],
    wholes=["rank"],
    choices=_STAGES,
)
QUALITIES = Table(
    "the label_quality.csv that `aggregate` writes",
    words=["variant"],
    numbers=["num_clusters", "outliers"],  # the scores need images whose person is known
    wholes=["round", "trial"],
    choices={"space": ("visible", "infrared")},
)
LOSSES = Table(
    "the losses.csv that `aggregate` writes",
    words=["variant"],
    numbers=["total"],
    wholes=["trial", "step"],
    choices=_STAGES,
)
EPOCHS = Table(
    "the losses.csv that `pretrain` writes",
    numbers=["learning_rate", "total"],
    wholes=["epoch"],
    may_be_empty=True,  # where a given network takes the place of stage one
)
ROUND = Table(
    "the losses.csv that `train` writes", numbers=["learning_rate", "total"], wholes=["round"]
)
PROVENANCE = Table(
    "the provenance.csv that `provenance` writes",
    words=["finished"],
    others=["commit", "device", "machine"],
    numbers=["seconds"],
    wholes=["trial"],
)
TSNE = Table(
    "the tsne.csv that `analyze` writes",
    numbers=["x", "y"],
    wholes=["row", "identity"],
    choices=_MODALITIES,
)
CENTERS = Table(
    "the cluster_centers.csv that `cluster-centers` writes",
    numbers=["x", "y"],
    wholes=["identity", "nearest_identity"],
    choices={**_MODALITIES, "when": ("before", "after")},
)
PUBLISHED = Table(
    "the csv of published figures",
    words=["source", "variant", "dataset", "setting"],
    numbers=["rank1", "map", "minp"],
)
PAPER = Table("a csv that `tables` writes", choices={"status": ("run", "not run")})
BENCHMARK = Table("a benchmark that Snakemake writes", others=["max_rss"], numbers=["s"])
IDENTIFIED = Table("a csv with the columns file and identity", words=["file", "identity"])
INDEXED = Table(
    "the files.csv that `embed` writes", words=["file"], wholes=["folder"], choices=_MODALITIES
)
