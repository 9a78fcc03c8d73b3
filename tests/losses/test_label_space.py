"""One-directional training (paper, Table 4): which images each space's memories see."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from salcr.models.network import Features
from salcr.types import PseudoLabels
from tests.losses.test_objective import arrays, batch, objective, on_host, start  # noqa: F401  (fixtures)

TAU = 0.05


def entropy(rows: torch.Tensor, memory: torch.Tensor, labels: Iterable[torch.Tensor]) -> float:
    """Return the mean cross entropy of normalized rows against a memory."""
    logits = normalize(rows, dim=-1) @ memory.T / TAU
    return cross_entropy(logits, torch.cat(list(labels))).item()


def by_hand(
    criterion, features: Features, labels: PseudoLabels[torch.Tensor], space: str
) -> tuple[float, float]:
    """Return the global and the part loss when both modalities are trained in one space only."""
    v, a, r = features.global_features.chunk(3)
    in_visible = [labels.visible, labels.visible]
    in_infrared = [labels.visible_to_infrared, labels.visible_to_infrared]
    if space == "visible":
        joint = (torch.cat([v, a, r]), "visible", [*in_visible, labels.infrared_to_visible])
        alone = (r, "infrared", [labels.infrared])
    else:
        joint = (torch.cat([v, a, r]), "infrared", [*in_infrared, labels.infrared])
        alone = (torch.cat([v, a]), "visible", in_visible)
    global_ = sum(entropy(rows, criterion.global_memory[s], y) for rows, s, y in (joint, alone))

    part = 0.0
    cross = {"visible": labels.infrared_to_visible, "infrared": labels.visible_to_infrared}[space]
    terms = [("visible", "visible", labels.visible), ("infrared", "infrared", labels.infrared)]
    terms.append(("infrared" if space == "visible" else "visible", space, cross))
    for side, s, y in terms:
        for index in range(features.own.shape[1]):
            groups = [p[:, index].chunk(3) for p in features[1:]]
            chosen = [g[:2] if side == "visible" else g[2:] for g in groups]
            rows = torch.cat([rows for group in chosen for rows in group])
            memory = criterion.part_memory[side, s][index]
            part += entropy(rows, memory, [y] * (len(rows) // len(y))) / features.own.shape[1]
    return global_, part


@pytest.mark.parametrize("space", ["visible", "infrared"])
def test_the_other_space_uses_only_its_own_modality(start, batch, space: str) -> None:  # noqa: F811
    """Losses equal a derivation by hand in which the other modality is left out of a space."""
    features, labels = batch
    criterion = objective(start, mode="none", label_space=space)
    losses = criterion.losses(criterion.normalize(features), labels)
    expected = by_hand(criterion, features, labels, space)
    assert losses["global"].item() == pytest.approx(expected[0], rel=1e-5)
    assert losses["part"].item() == pytest.approx(expected[1], rel=1e-5)


@pytest.mark.parametrize("space", ["visible", "infrared"])
def test_pairs_of_both_spaces_are_trained(start, batch, space: str) -> None:  # noqa: F811
    """Two pairs share a visible label and two an infrared one: each image keeps its own labels."""
    features = Features(*(rows.clone().requires_grad_() for rows in batch[0]))
    device = features.own.device
    labels = PseudoLabels(
        visible=torch.tensor([0, 2, 1, 3], device=device),
        visible_to_infrared=torch.tensor([1, 0, 2, 1], device=device),
        infrared=torch.tensor([0, 2, 2, 1], device=device),
        infrared_to_visible=torch.tensor([0, 2, 3, 0], device=device),
    )
    criterion = objective(start, mode="none", label_space=space)
    losses = criterion.losses(criterion.normalize(features), labels)
    expected = by_hand(criterion, features, labels, space)
    assert losses["total"].item() == pytest.approx(sum(expected), rel=1e-5)
    losses["total"].backward()
    for rows in features:
        assert rows.grad is not None and (rows.grad.flatten(1).norm(dim=1) > 1e-4).all()


@pytest.mark.parametrize("space", ["visible", "infrared"])
def test_memories_are_updated_by_the_images_they_see(start, batch, space: str) -> None:  # noqa: F811
    """In the space that is not joint, only clusters of the modality's own labels are updated."""
    features, labels = batch
    other = "infrared" if space == "visible" else "visible"
    criterion = objective(start, label_space=space)
    before = criterion.global_memory[other].clone()
    crossing = {side: memory.clone() for side, memory in criterion.part_memory.items()}
    criterion.update(criterion.normalize(features), on_host(labels), np.random.default_rng(0))
    changed = (criterion.global_memory[other] != before).any(dim=1).nonzero().flatten().tolist()
    assert changed == sorted(set(getattr(labels, other).tolist()))
    still = ("visible", "infrared") if space == "visible" else ("infrared", "visible")
    for side, memory in crossing.items():
        assert torch.equal(memory, criterion.part_memory[side]) == (side == still), side
