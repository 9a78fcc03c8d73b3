"""The losses of stage one on a batch, and the update of its cluster memories (METHOD 2.6, 2.7)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from salcr.config.method import Memory
from salcr.losses.memory import cluster_loss, update_memory
from salcr.types import Integers

MODALITY_OF_VIEW = {"plain": "visible", "augmented": "visible", "infrared": "infrared"}
"""The views v, a and r (METHOD 3.4), and the modality whose memory each is compared with."""


class StageOneObjective:
    """CE(v) + CE(a) + CE(r), each against the cluster memory of its modality.

    A step may call `compare_and_update` once with all views, or several times with a part of the
    batch each, as batch norm in halves does. The losses of all calls compare with the memories
    before the step, and every call moves the memories.

    Args:
        memories: modality -> [K, C] unit rows, before the first step; replaced by every update.
        memory: the section of the configuration.
        visible_loss: "sum" or "mean" of the two visible losses.
        last_update: the visible view that updates the memory last, "plain" or "augmented".
    """

    def __init__(
        self,
        memories: Mapping[str, Tensor],
        memory: Memory,
        *,
        visible_loss: str,
        last_update: str,
    ) -> None:
        self.memories, self.memory = dict(memories), memory
        self.visible_loss, self.last_update = visible_loss, last_update
        self.start_step()

    def start_step(self) -> None:
        """Take the present memories as those that the losses of a step compare with."""
        self._before = dict(self.memories)

    @property
    def visible_views(self) -> tuple[str, str]:
        """Return the two views of visible images in the order in which they move the memory."""
        plain_last = self.last_update == "plain"
        return ("augmented", "plain") if plain_last else ("plain", "augmented")

    def compare_and_update(
        self,
        features: Mapping[str, Tensor],
        labels: Mapping[str, Integers],
        num_rows: Mapping[str, int],
    ) -> dict[str, Tensor]:
        """Return the losses of some views by name and their "total", and update the memories.

        A loss is a mean over the rows of its view in the whole batch; of a part of the rows, the
        share of that mean. In the total the two visible losses count half where the configuration
        has their mean.

        Args:
            features: view -> [B, C] unit rows; the visible view that comes last in a step only
                together with the other one or after it.
            labels: view -> [B], clusters of these rows.
            num_rows: view -> rows of the view in the whole batch.
        """
        losses = {}
        for view in (*self.visible_views, "infrared"):
            if view in features and len(features[view]):
                weight = len(features[view]) / num_rows[view]
                losses[view] = weight * self._loss_and_update(view, features[view], labels[view])
        halved = self.visible_loss == "mean"
        terms = [
            loss / 2 if halved and view != "infrared" else loss for view, loss in losses.items()
        ]
        return {**losses, "total": torch.stack(terms).sum()}

    def _loss_and_update(self, view: str, features: Tensor, labels: Integers) -> Tensor:
        modality = MODALITY_OF_VIEW[view]
        moved = self.memory.released_gradient and view == self.last_update
        loss = cluster_loss(
            features,
            self._before[modality],
            torch.from_numpy(labels).to(features.device, non_blocking=True),
            self.memory.temperature,
            moved=self.memories[modality] if moved else None,
        )
        self.memories[modality] = update_memory(
            self.memories[modality], features, labels, self.memory.momentum
        )
        return loss
