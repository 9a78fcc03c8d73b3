"""Stage two in one label space: its batches, and the labels that losses and memories see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from torch import Tensor

from salcr.data.samplers import PairBatch, sample_pair_batch
from salcr.losses import objective
from salcr.losses.memory import Update, cluster_loss, update_memories
from salcr.training import round as training
from salcr.types import Integers, PseudoLabels
from tests.support import tiny


@pytest.fixture
def folders(stage_one: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Return the data and a separate folder that continues stage one."""
    (tmp_path / "round00").symlink_to(stage_one / "round00")
    return stage_one / "data", tmp_path


@pytest.mark.parametrize(
    ("method", "space"),
    [
        ("dagl", "dual"), ("dagl", "visible"), ("dagl", "infrared"),
        ("pgm", "visible"), ("mbccm", "infrared"), ("otla", "visible"),
    ],
)  # fmt: skip
def test_losses_and_memories_see_clusters_only(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, method: str, space: str
) -> None:
    """Each label of a loss or an update is a row of its memory, never the -1 of an outlier."""
    data, out = folders
    of_losses, of_updates = [], []

    def loss(features: Tensor, memory: Tensor, labels: Tensor, temperature: float) -> Tensor:
        of_losses.append((labels.numpy(), memory.shape[-2]))
        return cluster_loss(features, memory, labels, temperature)

    def update(updates: list[Update], momentum: float) -> list[Tensor]:
        of_updates.extend((one.labels, one.memory.shape[-2]) for one in updates)
        return update_memories(updates, momentum)

    monkeypatch.setattr(objective, "cluster_loss", loss)
    monkeypatch.setattr(objective, "update_memories", update)
    words = ["--clustering-eps", "0.5", "--associate-method", method]
    assert tiny.associate(data, out, 1, *words) == 0
    assert (pd.read_csv(out / "round01/labels.csv")["cluster"] < 0).any()
    assert tiny.train(data, out, 1, "--train-label-space", space) == 0
    # Two global memories and three or four part memories in each of three iterations.
    assert len(of_losses) == len(of_updates) == 3 * (2 + (4 if space == "dual" else 3))
    for labels, num_clusters in of_losses + of_updates:
        assert labels.min() >= 0 and labels.max() < num_clusters


def test_one_label_space_has_the_batches_of_both(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the labels are of each space, whichever is trained in both modalities."""
    data, out = folders
    batches: dict[str, list[PairBatch]] = {"dual": [], "visible": [], "infrared": []}
    assert tiny.associate(data, out, 1) == 0
    for space, seen in batches.items():

        def sample(
            labels: PseudoLabels[Integers], *words: Any, seen: list[PairBatch] = seen, **named: Any
        ) -> PairBatch:
            batch = sample_pair_batch(labels, *words, **named)
            for own, other, rows in (
                (labels.visible, labels.infrared_to_visible, slice(6)),
                (labels.visible_to_infrared, labels.infrared, slice(6, 12)),
            ):
                names = own[batch.visible[rows]]
                assert len(names) == 6 and len(set(names.tolist())) == 2
                assert (other[batch.infrared[rows]] == names).all()
            seen.append(batch)
            return batch

        monkeypatch.setattr(training, "sample_pair_batch", sample)
        assert tiny.train(data, out, 1, "--train-label-space", space) == 0
    for both, visible, infrared in zip(*batches.values(), strict=True):
        assert len(both.visible) == 12
        for one in (visible, infrared):
            np.testing.assert_array_equal(np.stack(one), np.stack(both))


def test_a_space_that_no_label_reaches_is_refused_or_left_out(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """OTLA's visible images cannot be trained in the infrared space; the visible one serves all."""
    data, out = folders
    assert tiny.associate(data, out, 1, "--associate-method", "otla") == 0
    for space in ("dual", "infrared"):
        assert tiny.train(data, out, 1, "--train-label-space", space) == 1
        text = capsys.readouterr().err
        assert "visible images have no label in the infrared space" in text
        assert "train.label_space: visible" in text and "Traceback" not in text
    assert tiny.train(data, out, 1, "--train-label-space", "visible", "--train-labels", "100") == 0
    text = capsys.readouterr().err
    assert "infrared space: no shared labels; the batches take all labels from the other" in text
    assert "visible space: both modalities share" in text and "a batch has 100 of the 100" in text
