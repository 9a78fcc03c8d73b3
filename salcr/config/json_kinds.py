"""The json files that are read: their keys and types, and who writes them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic import StrictBool as Flag
from pydantic import StrictStr as Text

from salcr.config.kinds import Content, Number, Sections, Whole
from salcr.config.schema import Layout

Filled = Annotated[Text, Field(min_length=1)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Percent = Annotated[float, Field(strict=True, ge=0, le=100)]
Seconds = Annotated[float, Field(strict=True, ge=0)]
Modality = Literal["visible", "infrared"]
Lengths = Annotated[list[Whole], Field(min_length=4, max_length=4)]
Sizes = Annotated[dict[Literal["parameters", "macs"], Whole], Field(min_length=2)]


class Preprocessed(Content):
    """Sizes and hashes of a stored data set."""

    title = "the preprocess.json that `preprocess` writes"
    layout: Layout
    published: Flag
    shapes: Annotated[dict[Modality, Lengths], Field(min_length=2)]
    sha256: dict[Text, Text]
    crc32: dict[Text, Text]
    data_hash: Annotated[Text, Field(min_length=8)]
    has_tracks: Flag = False


class Scores(Content):
    """Metrics in one gallery."""

    cmc: Annotated[list[Share], Field(min_length=1)]
    map: Share
    minp: Share


Galleries = Annotated[list[Scores], Field(min_length=1)]


class Rankings(Content):
    """Scores in the galleries of one setting, without a re-ranking and with others by name."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Galleries]
    none: Galleries


class Identification(Content):
    """Rank-1 at a false-alarm rate, None where there are too few queries."""

    false_alarm_rate: Share
    threshold: Number | None
    identification_rate: Share | None


class OpenSet(Content):
    """Scores in one gallery that lacks half of the people."""

    present: Whole
    absent: Whole
    rates: Annotated[list[Identification], Field(min_length=1)]


class Metrics(Content):
    """Scores of one network."""

    title = "the metrics.json that `evaluate` writes"
    round: Whole
    trial: Whole
    settings: Annotated[dict[Filled, Rankings], Field(min_length=1)]
    open_set: dict[Filled, list[OpenSet]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _open_set_is_of_the_same_galleries(self) -> Metrics:
        galleries = {name: len(one.none) for name, one in self.settings.items()}
        if self.open_set and {n: len(one) for n, one in self.open_set.items()} != galleries:
            raise ValueError("open_set is not of the galleries of settings")
        return self


class TrainedOn(Content):
    """Where a network of another data set comes from."""

    layout: Layout
    published: Flag


class Transferred(Content):
    """Scores of a network of another data set."""

    title = "the metrics.json that `transfer` writes"
    trained_on: TrainedOn
    trial: Whole
    settings: dict[Text, Rankings]


class RoundLabels(Content):
    """Scores of a round's pseudo-labels, in both label spaces."""

    visible: dict[Text, Number]
    infrared: dict[Text, Number]


class LabelQuality(Content):
    """Scores of the pseudo-labels of a trial, from its first round on."""

    title = "the label_quality.json that `label-quality` writes"
    rounds: Annotated[list[RoundLabels], Field(min_length=1)]


class Versions(Content):
    """Package -> version."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Text]
    torch: Text


class JobFacts(Content):
    """What a job ran with."""

    stage: Text
    finished: Text
    seconds: Seconds
    seed: Whole | None
    code: Text
    commit: Text | None
    clean: Flag | None
    machine: Text
    versions: Versions
    device: Text = ""
    labels: dict[Text, Number] = Field(default_factory=dict)
    diagnosis: list[Text] = Field(default_factory=list)


class Job(JobFacts):
    """How a job obtained its result."""

    title = "the record that a stage writes with --job"
    config: Sections


class TimedJob(Job):
    """A record of `evaluate`, with the seconds of rankings: setting -> ranking -> seconds."""

    title = "the record that `evaluate` writes with --job"
    threads: Whole
    rerank_seconds: dict[Text, dict[Text, Seconds]]


class Initial(Content):
    """The section `pretrain`, as far as pages show it."""

    checkpoint: Text | None


class Backbone(Content):
    """The section `model`."""

    backbone: Text
    width: Whole
    weights: Text


class TrialConfig(Content):
    """The configuration of a trial, by section."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: Sections
    preprocess: Annotated[
        dict[Literal["height", "width", "thermal_range"], Whole | Text], Field(min_length=2)
    ]
    model: Backbone
    pretrain: Initial


class TrialProvenance(Content):
    """How a trial was made."""

    title = "the provenance.json that `provenance` writes for a trial"
    dataset: Text
    variant: Text
    trial: Whole
    rounds: Whole
    seed: Whole
    config: TrialConfig
    jobs: Annotated[list[JobFacts], Field(min_length=1)]


class Complexity(Content):
    """Sizes of the configured network."""

    title = "the complexity.json that `complexity` writes"
    backbone: Text
    width: Whole
    parts: Whole
    image: Annotated[list[Whole], Field(min_length=2, max_length=2)]
    networks: Annotated[dict[Literal["baseline", "salcr"], Sizes], Field(min_length=2)]


class StartRow(Content):
    """A row of a study."""

    variant: Filled
    seed: Whole
    trial: Whole
    setting: Filled
    rank1: Percent
    map: Percent
    minp: Percent
    rounds: Whole
    config: Filled
    code: Filled
    data: Filled
    commit: Text
    clean: Text
    device: Text
    torch: Text
    seconds: Seconds


class Start(Content):
    """The rows of one start of a study."""

    title = "the json that `study-row` writes"
    rows: Annotated[list[StartRow], Field(min_length=1)]
