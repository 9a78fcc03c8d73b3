"""The json files of an index of pictures: their keys and types, and who writes them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic import StrictStr as Text

from salcr.config.json_kinds import Filled, Modality, Share
from salcr.config.kinds import Content, Number, Whole


class Origin(Content):
    """What identifies a network."""

    sha256: Text
    round: Whole
    trial: Whole


class Point(Content):
    """A point of an ROC: rates of pairs whose cosine is at least the threshold."""

    threshold: Number
    false_match_rate: Share
    true_match_rate: Share


class Threshold(Content):
    """The threshold of a false-match rate, None where there are too few pairs."""

    threshold: Number | None
    false_match_rate: Share
    true_match_rate: Share | None


class PairSimilarities(Content):
    """Cosines of the pairs of one kind: histograms in 200 equal steps from -1 to 1."""

    positive: Annotated[list[Whole], Field(min_length=200, max_length=200)]
    negative: Annotated[list[Whole], Field(min_length=200, max_length=200)]
    roc: Annotated[list[Point], Field(min_length=2)]
    thresholds: Annotated[list[Threshold], Field(min_length=1)]


class Calibration(Content):
    """Which cosine means the same person."""

    title = "the calibration.json that `calibrate` writes"
    index: Filled
    people_from: Literal["identities", "clusters"]
    num_images: Whole
    num_people: Whole
    pairs: Annotated[dict[Literal["across", "within"], PairSimilarities], Field(min_length=1)]


class ShardSettings(Content):
    """What all shards of an index have in common."""

    title = "the settings.json that `embed --shard` writes"
    checkpoint: Origin
    image_size: Annotated[list[Whole], Field(min_length=2, max_length=2)]
    num_channels: Whole
    numerics: dict[Text, Any]
    device: Text
    folders: Annotated[list[Text], Field(min_length=1)]
    modalities: list[Text]


class Part(Content):
    """An approximate index of one modality, and its share of the exact neighbors."""

    factory: Filled
    width: Whole
    recall_at_1: Share
    recall_at_10: Share


class Index(Content):
    """The summary of an index."""

    title = "the embed.json that `embed` writes"
    crc32: dict[Text, Text]
    kind: Literal["flat", "ivf", "hnsw", "pq"] = "flat"
    parts: dict[Modality, Part] = Field(default_factory=dict)
    """Of an approximate index."""
    checkpoint: Origin
    num_channels: Whole
    folders: Annotated[list[Text], Field(min_length=1)]
    num_pictures: dict[Modality, Whole]
    key: Text

    @model_validator(mode="after")
    def _require_checksums(self) -> Index:
        """Require the checksums of the files that every search reads."""
        if (self.kind == "flat") == bool(self.parts):
            raise ValueError(f"kind is {self.kind}, with {len(self.parts)} parts")
        indexes = [f"index.{modality}.faiss" for modality in self.parts] or ["index.faiss"]
        if missing := [name for name in (*indexes, "files.csv") if name not in self.crc32]:
            raise ValueError(f"crc32 has no {missing[0]}")
        return self
