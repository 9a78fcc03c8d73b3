"""The stages: the name of each is that of its command, Snakemake rule and module in stages/."""

from __future__ import annotations

from typing import NamedTuple


class Stage(NamedTuple):
    """What the command line and the workflow know about a stage."""

    name: str
    """Such as "label_quality": the module and the rule; the command is "label-quality"."""
    summary: str
    """One line of `salcr --help`."""
    sections: tuple[str, ...] = ()
    """Of the configuration. The stage reruns when a key of these changes, and for no other key."""
    seeded: bool = False
    """Whether it uses random numbers that depend on the configured seed."""
    writes: tuple[str, ...] = ()
    """Which of its arguments name what it writes; the other paths are read and must remain."""

    @property
    def command(self) -> str:
        """Return the name of the sub-command."""
        return self.name.replace("_", "-")


_STAGES = (
    Stage(
        "synthesize",
        "write a small data set of synthetic people",
        ("synthesize",),
        seeded=True,
        writes=("out",),
    ),
    Stage("weights", "download ImageNet weights of a backbone", writes=("out",)),
    Stage(
        "preprocess",
        "decode and resize the images of a data set once",
        ("preprocess",),
        writes=("out",),
    ),
    Stage(
        "pretrain",
        "stage one: contrastive learning within each modality",
        ("model", "numerics", "clustering", "memory", "augment", "optimizer", "pretrain"),
        seeded=True,
        writes=("checkpoint", "losses"),
    ),
    Stage(
        "associate",
        "cross-modality pseudo-labels of a round",
        ("numerics", "clustering", "associate"),
        writes=("labels",),
    ),
    Stage(
        "label_quality",
        "agreement of the pseudo-labels of each round with the identities",
        writes=("label_quality",),
    ),
    Stage(
        "train",
        "one round of stage two on the pseudo-labels",
        ("numerics", "memory", "augment", "optimizer", "train", "fgsal", "gpcr"),
        seeded=True,
        writes=("out_checkpoint", "out_optimizer_state", "losses"),
    ),
    Stage(
        "rounds",
        "several rounds of association and training in one job",
        (
            "numerics",
            "clustering",
            "associate",
            "memory",
            "augment",
            "optimizer",
            "train",
            "fgsal",
            "gpcr",
        ),
        seeded=True,
    ),
    Stage(
        "evaluate",
        "CMC, mAP and mINP on the test identities",
        ("numerics", "evaluate"),
        writes=("metrics", "rankings", "jobs"),
    ),
    Stage(
        "complexity",
        "parameters and multiplications of the network",
        ("model", "preprocess", "fgsal"),
        writes=("complexity",),
    ),
    Stage(
        "transfer",
        "evaluate a network of another data set on this one",
        ("numerics",),
        writes=("metrics",),
    ),
    Stage("aggregate", "tables over trials, rounds and variants"),
    Stage(
        "analyze",
        "pair distances, t-SNE and heat maps of a network, for figures",
        ("numerics", "analyze"),
        writes=("distances", "tsne", "attention"),
    ),
    Stage(
        "cluster_centers",
        "cluster centers of a round before and after CMFP, for a figure",
        ("numerics", "associate"),
        writes=("cluster_centers",),
    ),
    Stage("plot", "one figure from its small files", ("plot",), writes=("png", "pdf")),
    Stage("study_row", "add a finished start of a study to its csv", writes=("rows", "row")),
    Stage(
        "study",
        "the table and figure of a study from its csv",
        ("plot",),
        writes=("rows", "table", "text", "latex", "figures", "page"),
    ),
    Stage("provenance", "how each trial was made: configuration, code, devices, seconds"),
    Stage(
        "tables", "the paper's tables, with our results beside the published ones", writes=("out",)
    ),
    Stage("report", "one HTML page of all results", writes=("page",)),
    Stage(
        "embed",
        "features of folders of images, and an index to search them",
        ("numerics",),
        writes=("out",),
    ),
    Stage("join_index", "one index of the parts that embed --shard computed"),
    Stage(
        "calibrate",
        "which similarity of an index means the same person",
        ("clustering",),
    ),
    Stage(
        "search",
        "the images of an index that show the person of a query",
        ("numerics",),
        writes=("json", "sheet", "page"),
    ),
    Stage("serve", "a local web page to search an index with", ("numerics",)),
    Stage("export", "write a trained network as ONNX, checked with onnxruntime", writes=("out",)),
    Stage("info", "machine, devices, packages, data and results, and what is missing"),
    Stage("verify", "compare every module with values of the released code"),
    Stage("import_checkpoint", "convert a checkpoint of the released code", writes=("out",)),
)
STAGES = {stage.name: stage for stage in _STAGES}
