"""The tables that are read: their columns, and who writes them."""

from __future__ import annotations

from salcr.config.kinds import Table

_NETWORKS = {"stage": ("pretrain", "salcr")}
_MODALITIES = {"modality": ("visible", "infrared")}
_SETTING = ("variant", "setting", "rerank")
_SCORES = ("rank1", "rank10", "rank20", "map", "minp")
SUMMARY = Table(
    "the summary.csv that `aggregate` writes", _SETTING,
    [f"{score}_{kind}" for score in _SCORES for kind in ("mean", "std")], ["num_trials"], _NETWORKS,
)  # fmt: skip
TRIALS = Table(
    "the trials.csv that `aggregate` writes", _SETTING, ["rank1", "map", "minp"],
    ["round", "trial", "draw"], _NETWORKS,
)  # fmt: skip
CMC = Table("the cmc.csv that `aggregate` writes", _SETTING, ["mean"], ["rank"], _NETWORKS)
QUALITIES = Table(
    "the label_quality.csv that `aggregate` writes", ["variant"],
    ["ari", "ami", "fmi", "v_measure"], ["round", "trial"], {"space": ("visible", "infrared")},
)  # fmt: skip
LOSSES = Table(
    "the losses.csv that `aggregate` writes", ["variant"], ["total"], ["trial", "step"], _NETWORKS
)
EPOCHS = Table(
    "the losses.csv that `pretrain` writes", numbers=["learning_rate", "total"], wholes=["epoch"],
    may_be_empty=True,
)  # fmt: skip
ROUND = Table(
    "the losses.csv that `train` writes", numbers=["learning_rate", "total"], wholes=["round"]
)
PROVENANCE = Table(
    "the provenance.csv that `provenance` writes", ["commit", "device", "machine", "finished"],
    ["seconds"], ["trial"],
)  # fmt: skip
TSNE = Table(
    "the tsne.csv that `analyze` writes", numbers=["x", "y"], wholes=["identity"],
    choices=_MODALITIES,
)  # fmt: skip
CENTERS = Table(
    "the cluster_centers.csv that `cluster-centers` writes", numbers=["x", "y"],
    wholes=["identity", "nearest_identity"],
    choices={**_MODALITIES, "when": ("before", "after")},
)  # fmt: skip
PUBLISHED = Table(
    "the csv of published figures", ["source", "variant", "dataset", "setting"],
    ["rank1", "map", "minp"],
)  # fmt: skip
PAPER = Table("a csv that `tables` writes", choices={"status": ("run", "not run")})
BENCHMARK = Table("a benchmark that Snakemake writes", ["max_rss"], ["s"])
INDEXED = Table(
    "the files.csv that `embed` writes", ["file"], wholes=["folder"], choices=_MODALITIES
)
