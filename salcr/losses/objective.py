"""The objective of stage two: its memories, its losses on a batch, and the memories' update."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from salcr.config.method import Fgsal, Gpcr, Memory
from salcr.losses import refinement
from salcr.losses.memory import Update, cluster_loss, initialize_memory, update_memories
from salcr.models.network import Features
from salcr.types import MODALITIES, Integers, PseudoLabels


class UnitFeatures(NamedTuple):
    """The normalized features of a batch, which the losses and the memories use."""

    global_features: Tensor
    """[3S, C] rows [v; a; r]."""
    parts: dict[str, Tensor]
    """Modality -> [P, B, C], from `refinement.part_rows`; empty if the losses do not use them."""


class StageTwoObjective:
    """L_global + L_part + weight * L_refine (METHOD 3.3) and its memories.

    Args:
        global_features: modality -> [N, C] evaluation-mode global features of all training
            images, unit rows.
        parts: modality -> [P, N, C] part blocks of the jointly normalized concatenation.
        clusters: modality -> [N] DBSCAN labels, -1 for outliers; not propagated, not relabeled.
        memory: momentum and temperature.
        fgsal: options of the part losses.
        gpcr: options of the refinement losses; without part losses they alone train the parts.
        label_space: "dual", or the only space in which both modalities are trained; the memories
            of the other space are then used with images of their own modality only (Table 4).
            Batches are the same for all of them.
    """

    def __init__(
        self,
        global_features: dict[str, Tensor],
        parts: dict[str, Tensor],
        clusters: dict[str, Integers],
        *,
        memory: Memory,
        fgsal: Fgsal,
        gpcr: Gpcr,
        label_space: str,
    ) -> None:
        self.memory, self.fgsal, self.gpcr = memory, fgsal, gpcr
        self.label_space = label_space
        self.global_memory = {
            s: initialize_memory(global_features[s], clusters[s]) for s in MODALITIES
        }
        part_start = {s: initialize_memory(parts[s], clusters[s]) for s in MODALITIES}
        self.part_memory = {(side, s): part_start[s] for side in MODALITIES for s in MODALITIES}
        kept = {
            s: torch.from_numpy(np.flatnonzero(clusters[s] >= 0)).to(global_features[s].device)
            for s in MODALITIES
        }
        self.instances = {s: global_features[s][kept[s]] for s in MODALITIES}
        self.part_instances = {s: F.normalize(parts[s][:, kept[s]], dim=-1) for s in MODALITIES}

    def normalize(self, features: Features) -> UnitFeatures:
        """Return the features of a batch in the form that `losses` and `update` take."""
        global_features = F.normalize(features.global_features, dim=-1)
        if not (self.fgsal.enabled or self.gpcr.mode in ("both", "part")):
            return UnitFeatures(global_features, {})
        released = self.fgsal.released_cross_pattern
        return UnitFeatures(global_features, refinement.part_rows(*features[1:], released=released))

    def losses(self, features: UnitFeatures, labels: PseudoLabels[Tensor]) -> dict[str, Tensor]:
        """Return the scalar losses of a batch: "global", "part", "refine" and "total".

        total = global + part + weight * refine; a loss that is disabled is left out.

        Args:
            features: from `normalize`.
            labels: [S] of each field, pseudo-labels of the batch, in the memory of the CPU; -1 in a
                space in which an image is not trained.
        """
        tau, device = self.memory.temperature, features.global_features.device
        targets = PseudoLabels(*torch.stack(list(labels)).to(device, non_blocking=True))
        losses = {
            "global": add_up(
                cluster_loss(
                    features.global_features[rows],
                    self.global_memory[s],
                    group_labels(targets, s)[rows],
                    tau,
                )
                for s in MODALITIES
                for rows in [self._rows(s, len(features.global_features))]
            )
        }
        if self.fgsal.enabled:
            losses["part"] = add_up(
                cluster_loss(
                    features.parts[side],
                    self.part_memory[side, space],
                    _repeat(targets.of(side, space), features.parts[side]),
                    tau,
                )
                for side, space in self._sides(labels)
            )
        if self.gpcr.mode != "none":
            losses["refine"] = self._refine_loss(features)
        total = losses["global"] + losses.get("part", 0)
        losses["total"] = total + self.gpcr.weight * losses.get("refine", 0)
        return losses

    def update(
        self, features: UnitFeatures, labels: PseudoLabels[Tensor], rng: np.random.Generator
    ) -> None:
        """Update the cluster memories with a batch, its samples in random order.

        Args:
            features: from `normalize`.
            labels: as in `losses`.
            rng: source of the order.
        """

        def make_update(memory: Tensor, rows: Tensor, label: Tensor) -> Update:
            order = rng.permutation(len(label))
            return Update(memory, rows, label.numpy(), order[label[order] >= 0])

        of_images, of_parts = {}, {}
        for space, memory in self.global_memory.items():
            rows = self._rows(space, len(features.global_features))
            label = group_labels(labels, space)[rows]
            of_images[space] = make_update(memory, features.global_features[rows], label)
        if self.fgsal.enabled:
            for side, space in self._sides(labels):
                parts = features.parts[side]
                label = _repeat(labels.of(side, space), parts)
                of_parts[side, space] = make_update(self.part_memory[side, space], parts, label)
        updates = [*of_images.values(), *of_parts.values()]
        updated = update_memories(updates, self.memory.momentum)
        self.global_memory = dict(zip(of_images, updated[: len(of_images)], strict=True))
        self.part_memory |= zip(of_parts, updated[len(of_images) :], strict=True)

    def spaces(self, side: str) -> list[str]:
        """Return the label spaces in which the images of one modality are trained."""
        return [s for s in MODALITIES if self.label_space in ("dual", s) or s == side]

    def _rows(self, space: str, num_rows: int) -> slice:
        """Return the slice of the rows [v; a; r] that are trained in a label space."""
        visible, infrared = (space in self.spaces(side) for side in MODALITIES)
        boundary = num_rows * 2 // 3
        return slice(0 if visible else boundary, num_rows if infrared else boundary)

    def _sides(self, labels: PseudoLabels[Tensor]) -> list[tuple[str, str]]:
        """Return modality and space of every part memory for which the batch has a label."""
        pairs = ((side, space) for side in MODALITIES for space in self.spaces(side))
        return [pair for pair in pairs if bool((labels.of(*pair) >= 0).any())]

    def _refine_loss(self, features: UnitFeatures) -> Tensor:
        tau, mode = self.memory.temperature, self.gpcr.mode
        losses = []
        for space in MODALITIES:
            logits = refinement.instance_logits(
                features.global_features, self.instances[space], tau
            )
            nearest = refinement.nearest_instances(logits, self.gpcr.k)
            if mode in ("both", "global"):
                losses.append(refinement.refine_global(logits, nearest))
            if mode in ("both", "part"):
                memory = self.part_instances[space]
                losses.append(refinement.refine_parts(nearest, features.parts, memory, tau))
        return add_up(losses)


def add_up(terms: Iterable[Tensor]) -> Tensor:
    """Return the sum of scalars; at least one."""
    return torch.stack(list(terms)).sum()


def _repeat(label: Tensor, rows: Tensor) -> Tensor:
    """Return the labels [B] of part features [P, B, C] (own, cross 1, cross 2) from the images'."""
    return label.repeat(rows.shape[1] // len(label))


def group_labels(labels: PseudoLabels[Tensor], space: str) -> Tensor:
    """Return the labels [3S] of the rows [v; a; r] in one label space."""
    visible, infrared = (labels.of(modality, space) for modality in MODALITIES)
    return torch.cat([visible, visible, infrared])
