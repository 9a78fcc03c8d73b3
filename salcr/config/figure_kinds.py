"""The json files that figures are made of: their keys and types, and who writes them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator
from pydantic import StrictBool as Flag
from pydantic import StrictStr as Text

from salcr.config.json_kinds import Modality
from salcr.config.kinds import Content, Number, Whole


class RankedQuery(Content):
    """A query and its nearest images, as rows of the arrays."""

    query: Whole
    gallery: list[Whole]
    right: list[Flag]


class RankedQueries(Content):
    """Some queries of one setting."""

    query_modality: Modality
    gallery_modality: Modality
    queries: Annotated[list[RankedQuery], Field(min_length=1)]


class RankingLists(Content):
    """The nearest images of some queries."""

    title = "the rankings.json that `evaluate` writes"
    settings: Annotated[dict[Text, RankedQueries], Field(min_length=1)]


class Histogram(Content):
    """Distances of pairs of one kind."""

    mean: Number
    counts: list[Whole]


class Distances(Content):
    """Histograms of the distances of pairs."""

    title = "the distances.json that `analyze` writes"
    edges: list[Number]
    positive: Histogram
    negative: Histogram

    @model_validator(mode="after")
    def _counts_are_between_the_edges(self) -> Distances:
        for histogram in (self.positive, self.negative):
            if len(histogram.counts) + 1 != len(self.edges) or not any(histogram.counts):
                raise ValueError("its counts are not those of pairs between its edges")
        return self


Map = Annotated[list[list[Number]], Field(min_length=1)]


class HeatMaps(Content):
    """The heat maps of one image."""

    modality: Modality
    row: Whole
    grad_cam: Map
    attention: Map | None

    @model_validator(mode="after")
    def _rows_are_equally_long(self) -> HeatMaps:
        for rows in filter(None, (self.grad_cam, self.attention)):
            if {len(row) for row in rows} != {len(rows[0]) or None}:
                raise ValueError("a heat map is not a rectangle")
        return self


class Attention(Content):
    """The heat maps of people's images: all visible ones, then their partners."""

    title = "the attention.json that `analyze` writes"
    images: Annotated[list[HeatMaps], Field(min_length=2)]

    @model_validator(mode="after")
    def _are_pairs(self) -> Attention:
        if len(self.images) % 2 or len({image.attention is None for image in self.images}) > 1:
            raise ValueError("its images are not pairs with maps of the same kinds")
        return self
