"""Every parameter: its type, range and meaning, as pydantic models.

There are no defaults here; they are, with comments, in `config/default.yaml`. The sections that
decide what the method computes are in method.py.
"""

from __future__ import annotations

import math
import re
from itertools import chain
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from salcr.config.method import (
    Associate,
    Augment,
    Clustering,
    Fgsal,
    Gpcr,
    Memory,
    Optimizer,
    Pretrain,
    Train,
)
from salcr.config.paths import NamedPath, checked_path
from salcr.config.section import Section
from salcr.config.synthetic import SYNTHETIC_NETWORK, Synthesize

Positive = Annotated[int, Field(ge=1)]
Layout = Literal["regdb", "sysu", "llcm", "folders"]
MAX_THREADS = 1024  # more than any machine has cores
NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$"  # names become folders and parts of file names
WEIGHTS = ("imagenet", "random", "synthetic")  # words for model.weights


class Dataset(Section):
    """The images and their folder."""

    name: str = Field(pattern=NAME, description="names the folder below results/")
    layout: Layout = Field(description="folder layout of the data set")
    root: NamedPath = Field(description="folder that holds the data set")
    trials: list[int] = Field(min_length=1, description="splits to run, one training each")
    synthetic: bool = Field(description="true: `synthesize` writes the images to root")
    allow_subset: bool = Field(description="true: accept fewer images than published")

    @model_validator(mode="after")
    def _trials_are_distinct(self) -> Dataset:
        if min(self.trials) < 1 or len(set(self.trials)) < len(self.trials):
            raise ValueError("trials must be distinct whole numbers from 1")
        if self.layout != "regdb" and self.trials != [1]:
            raise ValueError(f"layout {self.layout} has one split: set trials: [1]")
        if self.layout == "folders" and self.synthetic:
            raise ValueError("layout folders is for given pictures: set synthetic: false")
        return self


class Preprocess(Section):
    """Size and brightness of the stored images."""

    height: int = Field(ge=32, le=1024, description="image height in pixels")
    width: int = Field(ge=16, le=1024, description="image width in pixels")
    thermal_range: Literal["refuse", "file", "folder"] = Field(
        default="refuse", description="what 16-bit infrared pictures are scaled by"
    )
    max_undecodable: float = Field(
        default=0.01,
        ge=0,
        lt=1,
        description="share of damaged training pictures that is left out; layout `folders` only",
    )


class Model(Section):
    """The backbone."""

    backbone: Literal[
        "resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
        "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d",
        "wide_resnet50_2", "wide_resnet101_2",
    ] = Field(description="a torchvision ResNet")  # fmt: skip
    width: int = Field(ge=4, le=64, description="channels of the stem; 64 is torchvision's")
    weights: str = Field(
        min_length=1,
        description="`imagenet`, `random`, `synthetic`, or a file: a state dict or a checkpoint",
    )

    @field_validator("weights")
    @classmethod
    def _words_are_no_files(cls, weights: str) -> str:
        path = checked_path(weights)
        return path if weights in WEIGHTS or path not in WEIGHTS else f"./{path}"

    @model_validator(mode="after")
    def _width_fits(self) -> Model:
        if self.weights == "imagenet" and self.width != 64:
            raise ValueError("weights: imagenet needs width: 64 (use weights: random)")
        if self.weights == "synthetic" and (self.backbone, self.width) != SYNTHETIC_NETWORK:
            backbone, width = SYNTHETIC_NETWORK
            raise ValueError(f"weights: synthetic needs backbone: {backbone} and width: {width}")
        if self.backbone.startswith("resnext") and self.width != 64:
            raise ValueError("width must be 64 for a resnext, whose groups need all channels")
        return self


class Numerics(Section):
    """How the network is computed. Affects rounding only, which training magnifies."""

    autocast: Literal["auto", "always", "never"] = Field(description="bfloat16; auto: on a GPU")
    channels_last: bool = Field(description="memory layout that is faster on most devices")
    compile: bool = Field(description="torch.compile; needs a C++ compiler and minutes per job")
    checkpoint: Literal["none", "early", "all"] = Field(
        default="none",
        description="layers whose activations are computed twice, not kept",
    )
    deterministic: bool = Field(
        default=False, description="the same bits each time on a GPU, slower"
    )

    @model_validator(mode="after")
    def _compiled_or_computed_again(self) -> Numerics:
        if self.compile and self.checkpoint != "none":
            raise ValueError("checkpoint: with compile: true, set it to none, or compile to false")
        return self


class Evaluate(Section):
    """Retrieval on the held-out identities."""

    rankings: int = Field(ge=1, description="queries whose ten nearest images a figure shows")
    rerank: list[Literal["cmfp", "aim", "cmrr"]] = Field(description="re-rankings to add")
    cmfp_k: list[Positive] = Field(min_length=1, description="CMFP: entries kept per row; a list")
    aim_k1: int = Field(ge=1, description="AIM: largest similarities kept per row")
    aim_k2: int = Field(ge=1, description="AIM: neighbors averaged")
    cmrr_k: list[Positive] = Field(min_length=1, description="CMRR: neighbors; a list")
    open_set: bool = Field(
        default=False,
        description="also rank-1 at false-alarm rates, half of the people not in the gallery",
    )

    @field_validator("cmfp_k", "cmrr_k", mode="before")
    @classmethod
    def _one_is_a_list_too(cls, value: Any) -> Any:
        return value if isinstance(value, list) else [value]


class Transfer(Section):
    """A network of another data set, evaluated on this one (paper, Table 16)."""

    results: str | None = Field(pattern=NAME, description="folder of that data set in results/")
    checkpoint: NamedPath | None = Field(description="network that `train` wrote there")

    @model_validator(mode="after")
    def _both_or_none(self) -> Transfer:
        if (self.results is None) != (self.checkpoint is None):
            raise ValueError("give both results and checkpoint, or neither")
        return self


class Analyze(Section):
    """Inputs of the figures that show a single network."""

    pairs: int = Field(ge=1, description="cross-modality pairs of each kind, sampled at random")
    tsne_identities: int = Field(ge=2, description="identities in the t-SNE")
    attention_identities: int = Field(ge=1, le=8, description="identities whose attention is shown")


class Plot(Section):
    """Content and style of the figures."""

    variants: list[str] = Field(description="variants to compare; empty: the first four")
    dpi: int = Field(ge=50, le=1200, description="resolution of the png files")
    font_size: float = Field(ge=4, le=24, description="points")


class Study(Section):
    """Variants compared over the same starts, which are the trials (`snakemake study`)."""

    rows: NamedPath | None = Field(
        description="csv of finished starts; null: study.csv in the results"
    )
    page: NamedPath | None = Field(
        description="Markdown page whose study table is replaced; null: none"
    )
    page_table: str = Field(
        default="study", pattern=NAME, description="name of the table in the page, and its figure"
    )
    starts: dict[str, Positive] = Field(description="variant -> number of trials; others: all")
    compare: dict[str, list[str]] = Field(description="variant -> one or several to compare with")

    @field_validator("compare", mode="before")
    @classmethod
    def _one_is_a_list_too(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: [one] if isinstance(one, str) else one for name, one in value.items()}


class Compute(Section):
    """Where jobs run. Affects their results by floating-point rounding only."""

    device: Literal["auto", "cpu", "cuda"] = Field(description="auto: a GPU if there is one")
    threads: int = Field(
        ge=1, le=MAX_THREADS, description="CPU threads of a training or evaluation job"
    )
    rounds_per_job: Positive | Literal["all"] = Field(description="rounds that one job computes")
    keep_optimizer_states: bool = Field(description="false: deleted after the next round")


class Seeded(Section):
    """What begins the configuration, and the settings of a stage with random numbers."""

    seed: int = Field(ge=0, lt=2**31, description="of all random numbers")


class Config(Seeded):
    """The whole configuration file."""

    rounds: int = Field(ge=0, le=999, description="rounds of stage two; 0 stops after stage one")
    evaluate_every: int = Field(ge=1, description="rounds between evaluations")
    dataset: Dataset
    synthesize: Synthesize
    preprocess: Preprocess
    model: Model
    numerics: Numerics
    clustering: Clustering
    memory: Memory
    augment: Augment
    optimizer: Optimizer
    pretrain: Pretrain
    associate: Associate
    train: Train
    fgsal: Fgsal
    gpcr: Gpcr
    evaluate: Evaluate
    transfer: Transfer
    analyze: Analyze
    plot: Plot
    study: Study
    compute: Compute
    variants: dict[str, dict[str, Any]] = Field(min_length=1, description="name -> overlay")

    @field_validator("variants")
    @classmethod
    def _plain_method_first(cls, variants: dict[str, Any]) -> dict[str, Any]:
        """Order variants by name, those without changes first, whatever file they are from."""
        for name in variants:
            if not re.fullmatch(NAME, name):
                raise ValueError(
                    f"{name!r} is not a valid name: use letters, digits, - and _, at most 100"
                )
        return dict(sorted(variants.items(), key=lambda item: (bool(item[1]), item[0])))

    @model_validator(mode="after")
    def _keys_fit_together(self) -> Config:
        if self.dataset.synthetic and max(self.dataset.trials) > self.synthesize.num_trials:
            raise ValueError(
                f"dataset.trials: trial {max(self.dataset.trials)} is not one of the "
                f"{self.synthesize.num_trials} of synthesize.num_trials; change one of the keys"
            )
        if unknown := [name for name in self.plot.variants if name not in self.variants]:
            raise ValueError(f"plot.variants: {unknown[0]!r} is not one of the variants")
        for key, names in (
            ("starts", [*self.study.starts]),
            ("compare", [*self.study.compare, *chain(*self.study.compare.values())]),
        ):
            if unknown := [name for name in names if name not in self.variants]:
                raise ValueError(f"study.{key}: {unknown[0]!r} is not one of the variants")
        if itself := [name for name, others in self.study.compare.items() if name in others]:
            raise ValueError(f"study.compare: {itself[0]!r} is compared with itself")
        if self.associate.method == "otla" and self.train.label_space != "visible":
            raise ValueError("associate.method: otla needs train.label_space: visible")
        rows = math.ceil(self.preprocess.height / 16)  # the backbone halves the image four times
        if rows < self.fgsal.parts:
            raise ValueError(
                f"fgsal.parts: {self.fgsal.parts} stripes do not fit the {rows} rows of the "
                "feature map; raise preprocess.height"
            )
        return self


def section_model(section: str) -> type[Section]:
    """Return the model of a config section, such as `Clustering` for "clustering"."""
    model = Config.model_fields[section].annotation
    assert isinstance(model, type) and issubclass(model, Section)
    return model
