"""The paper's tables: their rows, and what here computes each.

A row is identified by its settings, not by the name of a variant: whatever a variant is called,
its results are in the row whose settings it ran with. Does not import torch, so that the Snakefile
can use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from salcr.config.loading import STAGE_ONE, merge, validate
from salcr.config.schema import Config
from salcr.errors import SalcrError
from salcr.files import read_yaml

DATASETS = {"regdb": "RegDB", "sysu": "SYSU-MM01", "llcm": "LLCM", "folders": "own pictures"}
# The settings behind the published figures, by layout.
_SETTINGS = Path(__file__).with_name("published_settings.yaml")
_STAGE_TWO = {"rounds", "associate", "train", "fgsal", "gpcr"}
_NETWORK = {"preprocess", "model"}
# What the paper means by a re-ranking, where it names no numbers.
RERANKINGS = {
    "RegDB": {"cmfp": "cmfp k=8 (transductive)", "aim": "aim k1=8 k2=2"},
    "SYSU-MM01": {"cmfp": "cmfp k=30 (transductive)", "aim": "aim k1=4 k2=1"},
}


class Ours(NamedTuple):
    """What computes a row of the paper in this project."""

    settings: Mapping[str, Any]
    """Keys that the row fixes; all others are the configuration's."""
    rerank: str = "none"
    stage: str = "salcr"
    """Or pretrain: after stage one."""


class Transferred(NamedTuple):
    """A row of Table 16: a network of another data set."""

    layout: str
    """Of the data set that it was trained on."""


class Table(NamedTuple):
    """A table of the paper, or the numbers behind a figure of it."""

    source: str
    """Its number, as published.csv has it."""
    title: str
    rows: Mapping[str, Ours | Transferred | None]
    """Row of published.csv -> what computes it here, if anything does."""
    note: str = ""
    borrowed: Mapping[str, str] = {}
    """Row -> another table that has its published figures."""
    seconds: bool = False
    """Does it also show the seconds of each re-ranking?"""

    @property
    def name(self) -> str:
        """Return the name of its files, such as table03."""
        number = int(self.source.removeprefix("fig"))
        return f"{'figure' if self.source.startswith('fig') else 'table'}{number:02d}"

    @property
    def heading(self) -> str:
        """Return the words before its title, such as Table 3."""
        number = self.source.removeprefix("fig")
        return f"{'Figure' if number != self.source else 'Table'} {number}"


_METHOD: dict[str, Any] = {
    "associate": {"method": "dagl", "cmfp": True},
    "train": {"label_space": "dual"},
    "fgsal": {"enabled": True},
    "gpcr": {"mode": "both"},
}


def _method(**sections: Mapping[str, Any]) -> dict[str, Any]:
    """Return the method's switches, with what differs."""
    return merge(_METHOD, sections)


def _combined(*, cmfp: bool = False, fgsal: bool = False, gpcr: bool = False) -> Ours:
    """Return a row of the ablation."""
    mode = "both" if gpcr else "none"
    return Ours(_method(associate={"cmfp": cmfp}, fgsal={"enabled": fgsal}, gpcr={"mode": mode}))


_SALCR = Ours(_METHOD)
_DAGL = _combined()
_OTHERS = (
    "H2H", "OTLA", "ADCA", "CHCR", "NGLR (DOTLA)", "MBCCM", "CCLNet", "PGM",
    "GUR (no camera labels)", "PCLHD",
)  # fmt: skip
_AT_TEST = "SALCR + CMFP at test (transductive)"
_PGM = _method(associate={"method": "pgm"}, fgsal={"enabled": False}, gpcr={"mode": "none"})
_NO_REFINEMENT = Ours(_method(gpcr={"mode": "none"}))


def _one_space(space: str) -> Ours:
    return Ours(merge(_DAGL.settings, {"train": {"label_space": space}}))


def _rerankings(*cmrr_k: int) -> dict[str, Ours]:
    rows = {"none": "none", **{f"CMRR k={k}": f"cmrr k={k} (transductive)" for k in cmrr_k}}
    rows |= {"AIM": "aim", "CMFP": "cmfp"}
    return {row: Ours(_METHOD, rerank=name) for row, name in rows.items()}


def _parts() -> dict[str, Ours]:
    return {f"parts={n}": Ours(_method(fgsal={"parts": n})) for n in (2, 3, 4)}


def _k_in_training(*values: int) -> dict[str, Ours]:
    return {f"k_train={k}": Ours(_method(associate={"cmfp_k": k})) for k in values}


def _k_at_test(*values: int) -> dict[str, Ours]:
    return {f"k_test={k}": Ours(_METHOD, rerank=f"cmfp k={k} (transductive)") for k in values}


def _refinement() -> dict[str, Ours]:
    weights = {f"lambda={w}": Ours(_method(gpcr={"weight": w})) for w in (0.1, 0.5, 1.0, 1.5, 2.0)}
    neighbors = {f"k={k}": Ours(_method(gpcr={"k": k})) for k in (15, 20, 25, 30, 35, 40)}
    return {"lambda=0": _NO_REFINEMENT, **weights, **neighbors}


_TRANSDUCTIVE = "With CMFP at test, all queries are used together (transductive)."
TABLES = (
    Table(
        "1", "SALCR and published unsupervised methods",
        {**dict.fromkeys(_OTHERS), "SALCR": _SALCR, _AT_TEST: Ours(_METHOD, rerank="cmfp")},
        f"The figures of other methods are those that the paper quotes. {_TRANSDUCTIVE}",
        borrowed={"SALCR": "3"},
    ),
    Table(
        "2", "SALCR on SYSU-MM01, multi-shot",
        {"SALCR": _SALCR, _AT_TEST: Ours(_METHOD, rerank="cmfp")}, _TRANSDUCTIVE,
    ),
    Table(
        "3", "What each part of the method adds",
        {
            "B (stage one)": Ours({}, stage="pretrain"),
            "DAGL": _DAGL,
            "DAGL+FGSAL": _combined(fgsal=True),
            "DAGL+GPCR": _combined(gpcr=True),
            "DAGL+FGSAL+GPCR": _combined(fgsal=True, gpcr=True),
            "DAGL+CMFP": _combined(cmfp=True),
            "DAGL+FGSAL+CMFP": _combined(fgsal=True, cmfp=True),
            "DAGL+GPCR+CMFP": _combined(gpcr=True, cmfp=True),
            "SALCR": _SALCR,
        },
        "Without FGSAL, GPCR alone trains the parts, as in the released code.",
    ),
    Table(
        "4", "Label spaces in which DAGL trains both modalities",
        {
            "visible space only": _one_space("visible"),
            "infrared space only": _one_space("infrared"),
            "dual": _DAGL,
        },
        "Without CMFP, part and refinement losses.",
    ),
    Table(
        "5", "Re-rankings on SYSU-MM01", _rerankings(15, 25),
        "CMRR and CMFP use all queries together (transductive).", seconds=True,
    ),
    Table(
        "6", "Re-rankings on RegDB", _rerankings(8, 15),
        "CMRR and CMFP use all queries together (transductive).", seconds=True,
    ),
    Table(
        "7", "Features that the refinement uses",
        {
            "no instance loss": _NO_REFINEMENT,
            "global only": Ours(_method(gpcr={"mode": "global"})),
            "part only": Ours(_method(gpcr={"mode": "part"})),
            "both": _SALCR,
        },
    ),
    Table(
        "8", "CMFP at test with networks of other methods",
        {
            "PGM": Ours(_PGM),
            "PGM + CMFP at test": Ours(_PGM, rerank="cmfp"),
            **dict.fromkeys(("MULT", "MULT + CMFP at test", "SDCL", "SDCL + CMFP at test")),
        },
        "Ours is PGM's matching in this project's training, without part and refinement losses; "
        "the published row is PGM's own network. MULT and SDCL are not part of this project. "
        "With CMFP at test, all queries are used together.",
    ),
    Table("9", "Number of parts, SYSU-MM01", _parts()),
    Table("10", "Number of parts, RegDB", _parts()),
    Table("11", "k of CMFP in training, SYSU-MM01", _k_in_training(10, 20, 30, 40, 50)),
    Table("12", "k of CMFP in training, RegDB", _k_in_training(4, 8, 15, 20, 25)),
    Table("13", "k of CMFP at test, SYSU-MM01", _k_at_test(10, 20, 30, 40, 50), _TRANSDUCTIVE),
    Table("14", "k of CMFP at test, RegDB", _k_at_test(4, 8, 15, 20, 25), _TRANSDUCTIVE),
    Table("15", "Parameters and multiply-accumulate operations", {}),
    Table(
        "16", "Across data sets",
        {
            "trained on RegDB trial 1": _SALCR,
            "trained on SYSU-MM01": Transferred("sysu"),
            "trained on RegDB": Transferred("regdb"),
            "trained on both": None,
        },
        "RegDB's rows are of its trial 1 alone. The row of another data set's network needs "
        "`transfer` in the configuration. Training on both is not part of this project.",
    ),
    Table("fig5", "Weight (lambda) and neighbors (k) of the refinement, SYSU-MM01", _refinement()),
    Table("fig6", "Weight (lambda) and neighbors (k) of the refinement, RegDB", _refinement()),
)  # fmt: skip

# Table 15: row -> network of `complexity`, parameters in millions, operations in billions.
SIZES = {"baseline": ("baseline", 25.57, 5.19), "SALCR": ("salcr", 25.92, 5.20)}
# The network that they are of: backbone, width, parts, image.
SIZES_OF = {"backbone": "resnet50", "width": 64, "parts": 3, "image": [288, 144]}


def matches(config: Config, variants: Mapping[str, Config]) -> dict[str, dict[str, list[str]]]:
    """Return source -> row -> the variant that computes it and the stage of its results.

    Args:
        config: of the run.
        variants: name -> the configuration with the variant's overlay.
    """
    matched: dict[str, dict[str, list[str]]] = {}
    values = config.model_dump()
    for table in TABLES:
        for row, ours in table.rows.items():
            if isinstance(ours, Ours) and (match := _match(values, ours, variants)):
                matched.setdefault(table.source, {})[row] = match
    return matched


def departures(config: Config) -> list[str]:
    """Return the settings that are not the paper's, such as "rounds 2 instead of 40".

    Only settings that affect the results count: without rounds none of stage two, and with a given
    checkpoint none of its training. LLCM, for which the paper has no figures, has no departures.

    Args:
        config: of the run.
    """
    published = read_yaml(_SETTINGS)
    if config.dataset.layout not in published:
        return []
    wanted = merge(published["regdb"], published[config.dataset.layout])
    if not config.rounds:
        wanted = {key: wanted[key] for key in wanted if key not in _STAGE_TWO}
    if config.pretrain.checkpoint:
        wanted.pop("pretrain", None)
        if not config.rounds:
            wanted = {key: wanted[key] for key in _NETWORK}
    differing = []
    for section, values in wanted.items():
        ours = getattr(config, section)
        pairs = (
            [(f"{section}.{key}", getattr(ours, key), value) for key, value in values.items()]
            if isinstance(values, Mapping)
            else [(section, ours, values)]
        )
        differing += [f"{key} {is_} instead of {was}" for key, is_, was in pairs if is_ != was]
    if config.model.weights in ("random", "synthetic") and not config.pretrain.checkpoint:
        differing.append(f"model.weights {config.model.weights} instead of imagenet")
    return differing


def _match(
    values: Mapping[str, Any], ours: Ours, variants: Mapping[str, Config]
) -> list[str] | None:
    try:
        wanted = validate(merge(values, ours.settings))
    except SalcrError:  # three parts on an image that is too small for them, say
        return None
    for name, variant in variants.items():
        given = variant.pretrain.checkpoint is not None
        if ours.stage == "pretrain":
            if not given and all(
                getattr(variant, key) == getattr(wanted, key) for key in STAGE_ONE
            ):
                return [name, "pretrain"]
        elif variant == wanted and variant.rounds:
            return [name, "salcr"]
        elif variant == wanted and given:  # a whole network that is only evaluated
            return [name, "pretrain"]
    return None
