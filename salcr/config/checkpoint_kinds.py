"""The checkpoints that are read: their keys and types. Which tensors fit, the network knows."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from pydantic import StrictStr as Text

from salcr.config.kinds import Content, Number, Sections, Whole

Pixels = Annotated[int, Field(strict=True, ge=16, le=1024)]


class Shape(Content):
    """The arguments of a network."""

    backbone: Text
    width: Annotated[int, Field(strict=True, ge=1, le=64)]
    num_parts: Annotated[int, Field(strict=True, ge=1, le=1024)]


class Checkpoint(Content):
    """A network and its origin."""

    title = "the checkpoint.pt of a round, which holds a network"
    round: Whole
    trial: Whole
    image_size: Annotated[list[Pixels], Field(min_length=2, max_length=2)] | None = None
    data_hash: Text | None
    model: Shape
    state: dict[Text, Any]
    config: Sections


class Moments(Content):
    """The state of Adam: position of a parameter -> its tensors by name."""

    state: dict[Whole, dict[Text, Any]]


class OptimizerState(Content):
    """The optimizer after a round."""

    title = "the optimizer.pt of a round"
    round: Whole
    trial: Whole
    data_hash: Text
    adam: Moments


class Unfinished(Content):
    """Stage one after an epoch."""

    title = "the resume.pt of `pretrain`"
    key: Text
    network: dict[Text, Any]
    adam: Moments
    records: list[dict[Text, Number]]
