"""Published numbers of identities and images: a deviating copy is detected and rejected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from salcr.config.schema import Dataset
from salcr.datasets.counts import DISTINCT_IMAGES, PUBLISHED, TRIALS, Count, deviations
from salcr.datasets.readers import READERS
from salcr.datasets.records import Record
from salcr.datasets.synthetic.layouts import LAYOUTS
from tests.support import tiny


def spread(
    split: str, modality: str, identities: range, images: int, cameras: list[int], trial: int = 1
) -> list[Record]:
    """Return that many records, distributed over identities and then over cameras."""
    first = identities.start
    return [
        Record(
            trial,
            split,
            modality,
            f"{modality}/{first}/{number}",
            cameras[number // len(identities) % len(cameras)],
            identities[number % len(identities)],
        )
        for number in range(images)
    ]


def whole_regdb() -> list[Record]:
    """Return records like RegDB's: ten people of ten images rotate through ten trials."""
    records = []
    for trial in range(1, 11):
        for modality in ("visible", "infrared"):
            for position in range(412):
                split, person = (
                    ("train" if position < 206 else "test"),
                    (position + 40 * trial) % 412,
                )
                records += [
                    Record(trial, split, modality, f"{modality}/{person}/{n}", 1, position % 206)
                    for n in range(10)
                ]
    return records


def whole_sysu() -> list[Record]:
    """Return records like SYSU-MM01's: 301 = 96 x 3 + 13 pairs of test identity and camera."""
    pairs = [(n % 96, (1, 2, 4, 5)[n // 96]) for n in range(301)]
    return [
        *spread("train", "visible", range(1000, 1395), 22258, [1, 2, 4, 5]),
        *spread("train", "infrared", range(1000, 1395), 11909, [3, 6]),
        *[Record(1, "test", "visible", f"v/{n}", cam, who) for n, (who, cam) in enumerate(pairs)],
        *spread("test", "infrared", range(96), 3803, [3, 6]),
    ]


def whole_llcm() -> list[Record]:
    """Return records like LLCM's, 46,767 in total."""
    return [
        *spread("train", "visible", range(1000, 1713), 16946, list(range(1, 10))),
        *spread("train", "infrared", range(1000, 1713), 13975, list(range(1, 10))),
        *spread("test", "visible", range(351), 8680, list(range(1, 10))),
        *spread("test", "infrared", range(351), 46767 - 16946 - 13975 - 8680, [1, 2]),
    ]


WHOLE = {"regdb": whole_regdb, "sysu": whole_sysu, "llcm": whole_llcm}


def test_every_layout_has_a_reader_a_generator_and_counts() -> None:
    """The names agree wherever they are listed; one's own pictures may be any number."""
    names = set(get_args(Dataset.model_fields["layout"].annotation))
    assert names == set(READERS) == set(LAYOUTS)
    assert names - {"folders"} == set(PUBLISHED) == set(TRIALS) == set(WHOLE)


@pytest.mark.parametrize("layout", WHOLE)
def test_a_complete_data_set_has_no_deviation(layout: str) -> None:
    """Records built from the totals in the papers are accepted."""
    assert deviations(layout, WHOLE[layout]()) == []


def test_totals_equal_those_of_the_papers() -> None:
    """The splits add up to the totals given in the papers: people, and for LLCM images."""
    people = {
        layout: sum(counts[split, "visible"].identities for split in ("train", "test"))
        for layout, counts in PUBLISHED.items()
    }
    assert people == {"regdb": 412, "sysu": 491, "llcm": 1064}
    assert sum(count.images or 0 for count in PUBLISHED["llcm"].values()) == 46767


def test_every_deviation_is_reported() -> None:
    """One image, one identity-camera pair and one identity less are three deviations, in words."""
    records = whole_sysu()
    records.remove(next(r for r in records if (r.split, r.modality) == ("train", "visible")))
    last = [r for r in records if (r.split, r.modality, r.identity) == ("test", "visible", 95)]
    for record in last:
        records.remove(record)
    assert deviations("sysu", records) == [
        "trial 1, train, visible: 22257 images, published: 22258",
        "trial 1, test, visible: 95 identities, published: 96",
        f"trial 1, test, visible: {301 - len(last)} pairs of identity and camera, published: 301",
    ]


def test_a_missing_trial_and_wrong_people_are_reported() -> None:
    """RegDB with nine trials, or with more than 412 people over its trials, is not RegDB."""
    records = whole_regdb()
    nine = deviations("regdb", [record for record in records if record.trial < 10])
    assert nine == ["trials [1, 2, 3, 4, 5, 6, 7, 8, 9], published: 1 to 10"]
    index = next(i for i, r in enumerate(records) if (r.trial, r.modality) == (4, "infrared"))
    records[index] = records[index]._replace(file="infrared/413/0")
    assert deviations("regdb", records) == [
        "all trials, infrared: 4121 images, published: 4120",
    ]


@pytest.mark.parametrize("layout", WHOLE)
def test_preprocess_refuses_a_subset_unless_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str
) -> None:
    """Each deviation of a small data set is listed; --allow-subset turns it into a warning."""
    words = ["--out", tmp_path / "raw", "--layout", layout, *tiny.SYNTHESIZE]
    assert tiny.run("synthesize", *words) == 0
    capsys.readouterr()
    words = ["--root", tmp_path / "raw", "--layout", layout, "--out", tmp_path / "data"]
    assert tiny.run("preprocess", *words) == 1
    text = capsys.readouterr().err
    assert text.startswith("error: ") and "dataset.allow_subset: true" in text
    for split, modality in PUBLISHED[layout]:
        expected = PUBLISHED[layout][split, modality].identities
        assert f"trial 1, {split}, {modality}: 6 identities, published: {expected}" in text
    assert not (tmp_path / "data").exists()
    assert tiny.run("preprocess", *words, *tiny.PREPROCESS) == 0
    assert f"warning: {tmp_path / 'raw'}: is not the published {layout}" in capsys.readouterr().err
    assert json.loads((tmp_path / "data/preprocess.json").read_text())["published"] is False


def test_preprocess_reports_whether_the_numbers_are_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the numbers of a synthetic set are declared as published, its summary reports a match."""
    words = ["--out", tmp_path / "raw", "--layout", "regdb", *tiny.SYNTHESIZE]
    assert tiny.run("synthesize", *words) == 0
    counts = dict.fromkeys(PUBLISHED["regdb"], Count(6, 30))
    monkeypatch.setitem(PUBLISHED, "regdb", counts)
    monkeypatch.setitem(TRIALS, "regdb", 2)
    monkeypatch.setitem(DISTINCT_IMAGES, "regdb", 60)
    words = ["--root", tmp_path / "raw", "--layout", "regdb", "--out", tmp_path / "data"]
    assert tiny.run("preprocess", *words, *tiny.PREPROCESS[:-1]) == 0  # not a subset
    assert json.loads((tmp_path / "data/preprocess.json").read_text())["published"] is True
