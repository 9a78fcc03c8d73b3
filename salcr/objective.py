"""The objective of stage two: its memories, its losses on a batch, and how a batch moves them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from salcr import losses
from salcr.clustering import Integers
from salcr.losses import Labels
from salcr.memory import initial_memory, updated_memory
from salcr.model import Features
from salcr.schema import Fgsal, Gpcr, Memory

SPACES = ("visible", "infrared")  # of labels
SIDES = ("visible", "infrared")  # of part patterns: whose image asks


class StageTwoObjective:
    """L_global + L_part + weight * L_refine (paper, section 3.5) and its memories.

    Args:
        global_: modality -> [N, C] eval-mode global features of all training images, unit rows.
        parts: modality -> [P, N, C] part blocks of the jointly normalised concatenation.
        clusters: modality -> [N] DBSCAN labels, -1 for outliers; not propagated, not relabelled.
        memory: momentum and temperature.
        fgsal: switches of the part losses.
        gpcr: switches of the refinement losses.
        label_space: "dual", or the one space in which both modalities are trained; the memories
            of the other space then see the images of their own modality only (Table 4).
    """

    def __init__(
        self,
        global_: dict[str, Tensor],
        parts: dict[str, Tensor],
        clusters: dict[str, Integers],
        *,
        memory: Memory,
        fgsal: Fgsal,
        gpcr: Gpcr,
        label_space: str,
    ) -> None:
        self.settings, self.fgsal, self.gpcr = memory, fgsal, gpcr
        self.label_space = label_space
        self.global_memory = {s: initial_memory(global_[s], clusters[s]) for s in SPACES}
        part_start = {s: initial_memory(parts[s], clusters[s]) for s in SPACES}
        self.part_memory = {(side, s): part_start[s] for side in SIDES for s in SPACES}
        kept = {
            s: torch.from_numpy(np.flatnonzero(clusters[s] >= 0)).to(global_[s].device)
            for s in SPACES
        }
        self.instances = {s: global_[s][kept[s]] for s in SPACES}
        self.part_instances = {s: F.normalize(parts[s][:, kept[s]], dim=-1) for s in SPACES}

    def losses(self, features: Features, labels: Labels) -> dict[str, Tensor]:
        """Return the scalar losses of a batch: "global", "part", "refine" and their "total".

        A loss that is switched off is left out.
        """
        tau = self.settings.temperature
        global_ = F.normalize(features.global_, dim=-1)
        found = {
            "global": _sum(
                losses.cluster_loss(
                    global_[rows], self.global_memory[s], labels.of_groups(s)[rows], tau
                )
                for s in SPACES
                for rows in [self._rows(s, len(global_))]
            )
        }
        if self.fgsal.enabled:
            found["part"] = self._part_loss(self._patterns(features), labels)
        if self.gpcr.mode != "none":
            found["refine"] = self._refine_loss(global_, features)
        total = found["global"] + found.get("part", 0)
        found["total"] = total + self.gpcr.weight * found.get("refine", 0)
        return found

    @torch.no_grad()
    def update(self, features: Features, labels: Labels, rng: np.random.Generator) -> None:
        """Move the cluster memories by a batch, its samples in random order."""
        momentum = self.settings.momentum
        global_ = F.normalize(features.global_, dim=-1)
        for space in SPACES:
            rows = self._rows(space, len(global_))
            self.global_memory[space] = _shuffled_update(
                self.global_memory[space], global_[rows], labels.of_groups(space)[rows],
                momentum, rng,
            )  # fmt: skip
        if not self.fgsal.enabled:
            return
        patterns = self._patterns(features)
        for side in SIDES:
            rows_of_parts = losses.rows_of_side(patterns, side)
            for space in self._spaces(side):
                self.part_memory[side, space] = _shuffled_update(
                    self.part_memory[side, space],
                    rows_of_parts,
                    _side_labels(labels, side, space, rows_of_parts.shape[1]),
                    momentum,
                    rng,
                )

    def _spaces(self, side: str) -> list[str]:
        """Return the label spaces in which the images of one modality are trained."""
        return [s for s in SPACES if self.label_space in ("dual", s) or s == side]

    def _rows(self, space: str, num_rows: int) -> slice:
        """Return those of the rows [v; a; r] that the memory of a label space sees."""
        visible, infrared = (space in self._spaces(side) for side in SIDES)
        boundary = num_rows * 2 // 3
        return slice(0 if visible else boundary, num_rows if infrared else boundary)

    def _patterns(self, features: Features) -> Tensor:
        own, cross1, cross2 = (F.normalize(part, dim=-1) for part in features[1:])
        released = self.fgsal.released_cross_pattern
        return losses.aligned_patterns(own, cross1, cross2, released=released)

    def _part_loss(self, patterns: Tensor, labels: Labels) -> Tensor:
        found = []
        for side in SIDES:
            rows = losses.rows_of_side(patterns, side)
            for space in self._spaces(side):
                memory = self.part_memory[side, space]
                target = _side_labels(labels, side, space, rows.shape[1])
                tau = self.settings.temperature
                found.append(losses.cluster_loss(rows, memory, target, tau))
        return _sum(found)

    def _refine_loss(self, global_: Tensor, features: Features) -> Tensor:
        k, tau, mode = self.gpcr.k, self.settings.temperature, self.gpcr.mode
        found = []
        if mode in ("both", "global"):
            found += [losses.refine_global(global_, self.instances[s], k, tau) for s in SPACES]
        if mode in ("both", "part"):
            patterns = self._patterns(features)
            found += [
                losses.refine_parts(
                    global_, self.instances[s], patterns, self.part_instances[s], k, tau
                )
                for s in SPACES
            ]
        return _sum(found)


def _sum(terms: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(terms)).sum()


def _side_labels(labels: Labels, side: str, space: str, num_rows: int) -> Tensor:
    own = {
        ("visible", "visible"): labels.visible,
        ("visible", "infrared"): labels.visible_to_infrared,
        ("infrared", "visible"): labels.infrared_to_visible,
        ("infrared", "infrared"): labels.infrared,
    }[side, space]
    return own.repeat(num_rows // len(own))


def _shuffled_update(
    memory: Tensor, rows: Tensor, labels: Tensor, momentum: float, rng: np.random.Generator
) -> Tensor:
    order = rng.permutation(len(labels))
    shuffled = rows[..., torch.from_numpy(order).to(rows.device), :]
    return updated_memory(memory, shuffled, labels.cpu().numpy()[order], momentum)
