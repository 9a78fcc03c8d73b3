"""Settings that the data make meaningless are reported with the number, once a round."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from salcr.losses import refinement
from tests.support import tiny

MANY = 10_000


@pytest.fixture
def folders(stage_one: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Return the data and a separate folder that continues stage one."""
    (tmp_path / "round00").symlink_to(stage_one / "round00")
    return stage_one / "data", tmp_path


def warnings(text: str) -> list[str]:
    """Return the lines that are marked as warnings, without the time of day."""
    lines = text.splitlines()
    return [line.partition("warning: ")[2] for line in lines if "warning: " in line]


def num_clustered(out: Path) -> dict[str, int]:
    """Return modality -> images that are not outliers, of the labels of round 1."""
    labels = pd.read_csv(out / "round01/labels.csv").query("cluster >= 0")
    return {str(m): int(n) for m, n in labels["modality"].value_counts().items()}


def test_more_neighbors_than_images(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Clustering and propagation name the key and the number of images, once a modality."""
    data, out = folders
    num_images = (
        len(pd.read_csv(data / "manifest.csv").query("trial == 1 and split == 'train'")) // 2
    )
    words = ["--clustering-k1", num_images, "--associate-cmfp-k", MANY]
    capsys.readouterr()
    assert tiny.associate(data, out, 1, *words) == 0
    said = warnings(capsys.readouterr().err)
    found = [line for line in said if "k1 is" in line or "cmfp_k is" in line]
    # All images are then one cluster, of which the diagnosis warns as well.
    assert len(found) == 4 and len(said) == 6
    for modality, count in num_clustered(out).items():
        assert any(
            line.startswith(f"{modality}: clustering.k1 is {num_images}, but there are only "
                            f"{num_images} images") for line in found
        )  # fmt: skip
        assert any(
            line.startswith(f"{modality}: associate.cmfp_k is {MANY}, but only {count} images")
            for line in found
        )


def test_more_neighbors_than_instances_and_more_parts_than_rows(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The refinement is 0, and says so; each warning comes once, however many steps there are."""
    data, out = folders
    assert tiny.associate(data, out, 1) == 0
    capsys.readouterr()
    assert tiny.train(data, out, 1, "--gpcr-k", MANY, "--fgsal-parts", "8") == 0
    found = warnings(capsys.readouterr().err)
    counts = num_clustered(out)
    expected = ["fgsal.parts is 8, but the feature map has 4 rows"]
    expected += [
        f"{space} space: gpcr.k is {MANY}, but only {counts[space]} images are clustered"
        for space in ("visible", "infrared")
    ]
    assert len(found) == len(expected)
    assert all(line.startswith(start) for line, start in zip(found, expected, strict=True))
    assert pd.read_csv(out / "round01/losses.csv")["refine"].item() == pytest.approx(0, abs=1e-5)


def test_fewer_neighbors_than_instances_are_not_reported(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """One instance that is not among the neighbors suffices, and without GPCR k does not matter."""
    data, out = folders
    assert tiny.associate(data, out, 1) == 0
    fewest = min(num_clustered(out).values())
    for words in (["--gpcr-k", fewest - 1], ["--gpcr-k", MANY, "--gpcr-mode", "none"]):
        capsys.readouterr()
        assert tiny.train(data, out, 1, *words) == 0
        assert warnings(capsys.readouterr().err) == []


def test_re_rankings_with_more_neighbors_than_images(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each re-ranking that is used names its key and the size of the gallery, in each direction."""
    data, out = folders
    words = ["--evaluate-rerank", "[cmfp, cmrr]", "--evaluate-cmfp-k", f"[2, {MANY}]"]
    words += ["--evaluate-cmrr-k", "2", "--evaluate-aim-k1", str(MANY)]
    capsys.readouterr()
    assert tiny.evaluate(data, out, 0, *words) == 0
    found = warnings(capsys.readouterr().err)
    size = len(pd.read_csv(data / "manifest.csv").query("trial == 1 and split == 'test'")) // 2
    assert len(found) == 2
    assert all(
        f"evaluate.cmfp_k is {MANY}, but the gallery has only {size}" in line for line in found
    )


def test_the_refinement_with_all_instances_is_zero() -> None:
    """The reason of the warning: a softmax over all positives sums to 1."""
    import torch

    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32))
    for k, is_zero in ((5, True), (99, True), (4, False)):
        nearest = refinement.nearest_instances(logits, k)
        loss = float(refinement.refine_global(logits, nearest))
        assert (abs(loss) < 1e-6) == is_zero
