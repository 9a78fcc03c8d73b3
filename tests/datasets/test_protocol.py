"""Evaluation protocols: how galleries are sampled, and which images a query may see."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from salcr.datasets.protocol import Annotations, Setting, check_evaluation, sample_gallery
from salcr.datasets.readers import READERS
from salcr.errors import SalcrError
from salcr.evaluation.metrics import retrieval_metrics
from tests.support import tiny

SIDES = ("visible", "infrared")


@pytest.fixture
def images(rng: np.random.Generator) -> Annotations:
    """Return 400 images of 12 identities and 5 cameras; some pairs of them have a single image."""
    return Annotations(rng.integers(12, size=400), rng.choice([1, 2, 4, 5, 6], size=400))


@pytest.mark.parametrize("shots", [1, 3, 500])
def test_a_gallery_has_the_shots_of_each_identity_and_camera(
    images: Annotations, shots: int
) -> None:
    """Each pair gives `shots` different images, or all if it has fewer; other cameras give none."""
    setting = Setting("s", "infrared", "visible", cameras=(1, 2, 4), shots=shots)
    sample = sample_gallery(setting, images, draw=3)
    assert len(set(sample)) == len(sample) and (np.diff(sample) > 0).all()
    for identity in range(12):
        for camera in (1, 2, 4, 5, 6):
            mask = (images.identity == identity) & (images.camera == camera)
            expected = min(shots, mask.sum()) if camera in (1, 2, 4) else 0
            assert mask[sample].sum() == expected


def test_draws_differ_and_repeat(images: Annotations) -> None:
    """Ten draws are ten different galleries; each draw is reproducible."""
    setting = Setting("s", "infrared", "visible", shots=1, draws=10)
    galleries = [tuple(sample_gallery(setting, images, draw)) for draw in range(10)]
    assert len(set(galleries)) == 10
    assert galleries[4] == tuple(sample_gallery(setting, images, 4))


def test_sampling_is_uniform() -> None:
    """Sampling is uniform: over many draws each of five images occurs about equally often."""
    images = Annotations(np.zeros(5, np.int64), np.ones(5, np.int64))
    setting = Setting("s", "infrared", "visible", shots=1)
    counts = np.bincount([sample_gallery(setting, images, draw)[0] for draw in range(2000)])
    assert len(counts) == 5 and counts.min() > 320


def test_without_shots_the_gallery_has_all_images(images: Annotations) -> None:
    """RegDB's gallery is every image of the other modality, and excludes nothing."""
    for setting in READERS["regdb"].settings:
        assert np.array_equal(sample_gallery(setting, images, 0), np.arange(400))
        assert setting.excludes is None and not setting.identity_once and setting.draws == 1


def test_sysu_excludes_camera_2_for_camera_3() -> None:
    """METHOD 4.2: for a query of camera 3, only the gallery of camera 2 is excluded."""
    query = Annotations(np.array([1, 1]), np.array([3, 6]))
    gallery = Annotations(np.array([1, 2, 1, 2]), np.array([2, 2, 1, 5]))
    for setting in READERS["sysu"].settings:
        assert setting.excludes is not None and setting.identity_once and setting.draws == 10
        assert setting.excludes(query, gallery).tolist() == [
            [True, True, False, False],
            [False] * 4,
        ]


def test_sysu_settings_are_the_published_four() -> None:
    """All search uses cameras 1, 2, 4 and 5, indoor search 1 and 2; single-shot and multi-shot."""
    settings = {s.name: (s.cameras, s.shots) for s in READERS["sysu"].settings}
    assert settings == {
        "all": ((1, 2, 4, 5), 1),
        "indoor": ((1, 2), 1),
        "all multi-shot": ((1, 2, 4, 5), 10),
        "indoor multi-shot": ((1, 2), 10),
    }


def test_llcm_excludes_the_query_identity_in_its_own_camera() -> None:
    """METHOD 4.2: gallery images with the query's identity and camera are excluded."""
    query = Annotations(np.array([7]), np.array([3]))
    gallery = Annotations(np.array([7, 7, 8]), np.array([3, 4, 3]))
    for setting in READERS["llcm"].settings:
        assert setting.excludes is not None
        assert setting.excludes(query, gallery).tolist() == [[True, False, False]]


@pytest.mark.parametrize("layout", READERS)
def test_what_can_be_evaluated_is_what_the_metrics_accept(layout: str) -> None:
    """Of many random test sets, those are refused in which a setting's metrics find no match.

    Where only some queries have no match, the metrics leave them out, and so must this check.
    """
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(60):
        test = {m: Annotations(rng.integers(3, size=3), rng.integers(1, 7, size=3)) for m in SIDES}
        distance = np.zeros((3, 3))
        common = np.intersect1d(test["visible"].identity, test["infrared"].identity)
        possible = len(common) >= 2
        for setting in READERS[layout].settings:
            query, images = test[setting.query], test[setting.gallery]
            for draw in range(setting.draws):
                positions = sample_gallery(setting, images, draw)
                gallery = images.at(positions)
                excluded = setting.excludes and setting.excludes(query, gallery)
                try:
                    retrieval_metrics(
                        distance[:, : len(positions)], query.identity, gallery.identity,
                        excluded=excluded,
                    )  # fmt: skip
                except ValueError:
                    possible = False
        if possible:
            check_evaluation(READERS[layout].settings, test, "data: trial 1")
        else:
            refused += 1
            with pytest.raises(SalcrError, match="data: trial 1: "):
                check_evaluation(READERS[layout].settings, test, "data: trial 1")
    assert 5 < refused < 60


def test_the_setting_and_draw_that_cannot_be_evaluated_are_named() -> None:
    """Two people in cameras 4 and 6: all search works, but indoor search has no camera of them."""
    test = {m: Annotations(np.arange(2), np.full(2, c)) for m, c in zip(SIDES, (4, 6), strict=True)}
    complaint = (
        "^raw: trial 1: indoor, draw 0, cannot be evaluated: the visible images of cameras 1, 2 "
        "have no match for any infrared test image, .*; add test images"
    )
    with pytest.raises(SalcrError, match=complaint):
        check_evaluation(READERS["sysu"].settings, test, "raw: trial 1")


def assert_rankings_keep_the_protocol(data: Path, rankings: Path, layout: str) -> None:
    """Check the images of a ranking list against METHOD 4.2: none may be excluded for the query."""
    manifest = pd.read_csv(data / "manifest.csv").drop_duplicates(["modality", "row"])
    camera = manifest.set_index(["modality", "row"])["camera"]
    lines = pd.read_csv(data / "identities.csv").query("split == 'test'")
    identity = lines.drop_duplicates(["modality", "row"]).set_index(["modality", "row"])["identity"]
    settings = json.loads(rankings.read_text(encoding="utf-8"))["settings"]
    for setting in settings.values():
        for one in setting["queries"]:
            asked = setting["query_modality"], one["query"]
            assert one["gallery"]
            for row, right in zip(one["gallery"], one["right"], strict=True):
                shown = setting["gallery_modality"], row
                same = identity[shown] == identity[asked]
                assert right == same
                if layout == "sysu":
                    assert (camera[asked], camera[shown]) != (3, 2)
                else:
                    assert not (same and camera[shown] == camera[asked])


@pytest.mark.parametrize("layout", ["sysu", "llcm"])
def test_other_layouts_run_to_their_metrics(tmp_path: Path, layout: str) -> None:
    """Stage one trains on synthetic SYSU-MM01 and LLCM, and every setting has its ten draws."""
    words = ["--layout", layout, "--out", tmp_path / "raw", *tiny.SYNTHESIZE]
    assert tiny.run("synthesize", *words) == 0
    words = ["--root", tmp_path / "raw", "--layout", layout, "--out", tmp_path / "data"]
    assert tiny.run("preprocess", *words, *tiny.PREPROCESS) == 0
    data = tmp_path / "data"
    assert tiny.pretrain(data, tmp_path) == 0
    assert tiny.evaluate(data, tmp_path, 0) == 0
    settings = json.loads((tmp_path / "round00/metrics.json").read_text())["settings"]
    assert list(settings) == [setting.name for setting in READERS[layout].settings]
    lines = pd.read_csv(data / "identities.csv").query("split == 'test'")
    assert_rankings_keep_the_protocol(data, tmp_path / "round00/rankings.json", layout)
    for rankings in settings.values():
        draws = rankings["none"]
        assert len(draws) == 10
        for scores in draws:
            # The CMC counts each identity once, so its length is the number of identities.
            assert len(scores["cmc"]) <= lines["identity"].nunique()
            assert scores["cmc"][-1] == pytest.approx(1)
            assert 0 < scores["minp"] <= 1 and 0 < scores["map"] <= 1
