"""The sections of the configuration that decide what the method computes, see schema.py."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from salcr.config.paths import PathOfTrial
from salcr.config.section import Section

_Number = Annotated[int, Field(ge=0)]


def _distinct(milestones: list[int]) -> list[int]:
    if repeated := [one for one in milestones if milestones.count(one) > 1]:
        raise ValueError(f"{repeated[0]} is repeated, which would lower the rate twice at once")
    return milestones


Milestones = Annotated[
    list[_Number],
    AfterValidator(_distinct),
    Field(description="epochs (rounds) of this stage from which the rate is x0.1 again"),
]


class Clustering(Section):
    """Jaccard distance on k-reciprocal neighbors, then DBSCAN."""

    k1: int = Field(ge=2, description="neighbors in the k-reciprocal sets, with the image itself")
    k2: int = Field(ge=1, description="neighbors averaged in the query expansion")
    eps: float = Field(gt=0, lt=1, description="DBSCAN's radius in Jaccard distance")
    min_samples: int = Field(ge=2, description="DBSCAN's minimum size of a dense region")
    tracks: bool = Field(default=False, description="images of one track have the distance 0")

    @model_validator(mode="after")
    def _averages_over_neighbors(self) -> Clustering:
        if self.k2 > self.k1:
            raise ValueError(f"k2: {self.k2} is above k1: {self.k1}, and only k1 are searched")
        return self


class Memory(Section):
    """Cluster memories and the softmax over them."""

    momentum: float = Field(ge=0, lt=1, description="mu, the weight of the old value")
    temperature: float = Field(ge=0.001, le=1, description="tau, divides every cosine")
    released_gradient: bool = Field(
        description="stage one: the last view's gradient uses the memory that the other moved"
    )


class Augment(Section):
    """Random image transforms of training."""

    pad: int = Field(ge=0, le=64, description="padding in pixels before the random crop")
    jitter: float = Field(ge=0, le=0.5, description="brightness, contrast, saturation and hue")
    erasing_probability: float = Field(ge=0, le=1, description="of random erasing, per image")
    erasing_max_area: float = Field(ge=0.02, le=0.9, description="largest share of the image")
    linear_probability: float = Field(ge=0, le=1, description="of LTG in stage one, per image")
    linear_transform: Literal["radical", "mixture"] = Field(
        description="LTG as released, of many rectangles, or one of mixed channels"
    )
    infrared_forms: Literal["five", "four"] = Field(
        description="of r: a channel, gray, or (five, as released) sometimes unchanged"
    )


class Optimizer(Section):
    """Adam."""

    weight_decay: float = Field(ge=0, description="L2 penalty of Adam")


class Pretrain(Section):
    """Stage one: contrastive learning within each modality."""

    checkpoint: PathOfTrial | None = Field(
        description="used instead of stage one; {trial}: the trial"
    )
    epochs: int = Field(ge=1, description="clusterings, each followed by `iterations` steps")
    iterations: int = Field(ge=1, description="steps per epoch")
    clusters: int = Field(ge=1, le=4096, description="clusters in a batch, per modality")
    instances: int = Field(ge=1, le=4096, description="images of each cluster in a batch")
    learning_rate: float = Field(gt=0, description="Adam's rate")
    milestones: Milestones
    visible_loss: Literal["sum", "mean"] = Field(
        description="how the losses of the plain and the augmented view add up"
    )
    last_update: Literal["plain", "augmented"] = Field(
        description="view that updates the visible memory after the other one"
    )
    batch_norm: Literal["halves", "whole"] = Field(
        description="normalize both views of the visible images apart, each with half of infrared"
    )

    @model_validator(mode="after")
    def _halves_have_statistics(self) -> Pretrain:
        if self.batch_norm == "halves" and self.instances < 2:
            raise ValueError("batch_norm: halves needs instances: 2 or more")
        return self


class Associate(Section):
    """Cross-modality pseudo-labels."""

    method: Literal["dagl", "otla", "pgm", "mbccm"] = Field(description="SALCR's dagl, or others'")
    cmfp: bool = Field(description="propagate features across modalities first")
    cmfp_k: int = Field(ge=1, description="largest entries kept per row of a similarity block")
    sinkhorn_strength: float = Field(
        ge=0.001, le=100, description="lambda of the optimal transport"
    )
    relabel_own_modality: bool = Field(description="as the released code; the paper does not")
    stop_on_collapse: bool = Field(
        default=True, description="false: go on with one giant cluster or collapsed features"
    )
    gate_similarity: float | None = Field(
        default=None, ge=-1, le=1, description="least cosine of a cluster's partner; null: no gate"
    )

    @model_validator(mode="after")
    def _gate_needs_both_spaces(self) -> Associate:
        if self.method == "otla" and self.gate_similarity is not None:
            raise ValueError("gate_similarity: otla labels one space only; set it to null")
        return self


class Train(Section):
    """Stage two: one round is one association and one epoch of training."""

    iterations: int = Field(ge=1, description="steps per round")
    labels: int = Field(
        ge=2, le=4096, description="pseudo-labels in a batch, half from each label space"
    )
    instances: int = Field(ge=1, le=4096, description="visible and infrared images of each label")
    learning_rate: float = Field(gt=0, description="Adam's rate in round 1")
    label_space: Literal["dual", "visible", "infrared"] = Field(
        description="spaces in which both modalities are trained (paper, Table 4)"
    )
    milestones: Milestones

    @model_validator(mode="after")
    def _labels_are_even(self) -> Train:
        if self.labels % 2:
            raise ValueError("labels must be even: half come from each label space")
        return self


class Fgsal(Section):
    """Fine-grained semantic-aligned learning: the part losses."""

    enabled: bool = Field(description="use the part losses")
    parts: int = Field(ge=1, le=8, description="horizontal stripes of the feature map")
    released_cross_pattern: bool = Field(description="the released code's f(a,v) for f(a,r)")


class Gpcr(Section):
    """Global-part collaborative refinement: the instance losses."""

    mode: Literal["both", "global", "part", "none"] = Field(description="features to refine")
    k: int = Field(ge=1, description="nearest instances that may become positives")
    weight: float = Field(ge=0, description="lambda, weight of the refinement loss")
