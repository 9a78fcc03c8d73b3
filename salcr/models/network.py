"""The network: two stems, a shared trunk, global and part features (METHOD 1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from salcr.models.resnet import Stem, Trunk, initialize, keep_input_only

_GEM_POWER = 3.0
_GEM_FLOOR = 1e-12


class Features(NamedTuple):
    """Features of a stage-two batch before normalization; rows [v; a; r] of S images each."""

    global_features: Tensor
    """[3S, C]."""
    own: Tensor
    """[3S, P, C], f(v,v), f(a,a), f(r,r)."""
    cross1: Tensor
    """[3S, P, C], f(v,r), f(a,r), f(r,v)."""
    cross2: Tensor
    """[3S, P, C], f(v,a), f(a,v), f(r,a)."""


class Network(nn.Module):
    """SALCR's two-stream network.

    Args:
        backbone: name of a torchvision ResNet.
        width: channels of the stem, 64 in torchvision.
        num_parts: P, the number of horizontal stripes, each with a learnable token.
    """

    def __init__(self, *, backbone: str, width: int, num_parts: int) -> None:
        super().__init__()
        self.backbone, self.width = backbone, width
        self.autocast = False  # True: stem and trunk, nearly all of the work, in bfloat16
        self.memory_format = torch.contiguous_format
        self.visible_stem, self.infrared_stem = Stem(width), Stem(width)
        self.trunk = Trunk(backbone, width)
        initialize(self)
        self.infrared_stem.load_state_dict(self.visible_stem.state_dict())
        self.global_neck = _neck(self.trunk.num_channels)
        self.reset_parts(num_parts)

    @property
    def num_channels(self) -> int:
        """C, the width of the global and of each part feature."""
        return self.trunk.num_channels

    @property
    def num_parts(self) -> int:
        """P, the number of stripes."""
        return self.part_tokens.shape[0]

    def reset_parts(self, num_parts: int) -> None:
        """Initialize the part tokens and the part neck from torch's global random state."""
        tokens = torch.randn(num_parts, self.num_channels) * (2 / self.num_channels) ** 0.5
        self.part_tokens = nn.Parameter(tokens)
        self.part_neck = _neck(num_parts * self.num_channels)

    def forward(self, images: Tensor, modality: str) -> tuple[Tensor, Tensor]:
        """Return the features of one modality's images, before normalization.

        Args:
            images: [B, 3, H, W], normalized.
            modality: "visible" or "infrared".

        Returns:
            global features [B, C] and part features f(x, x) [B, P, C].
        """
        feature_map = self._feature_map({modality: images})
        return self._global(feature_map), self._apply_neck(self._own_parts(feature_map)[1])

    def forward_global(self, visible: Tensor, infrared: Tensor) -> Tensor:
        """Return global features [N + M, C] of a stage-one batch, before normalization.

        Args:
            visible: [N, 3, H, W], normalized; the first rows of the result.
            infrared: [M, 3, H, W], normalized; may be empty.
        """
        return self._global(self._feature_map({"visible": visible, "infrared": infrared}))

    def forward_aligned(self, visible: Tensor, augmented: Tensor, infrared: Tensor) -> Features:
        """Return the features of a stage-two batch of three aligned groups [S, 3, H, W]."""
        both = torch.cat([visible, augmented])
        feature_map = self._feature_map({"visible": both, "infrared": infrared})
        stripes, own, query = self._own_parts(feature_map)
        map_v, map_a, map_r = stripes.chunk(3)
        cross1 = attend(query, torch.cat([map_r, map_r, map_v]))
        cross2 = attend(query, torch.cat([map_a, map_v, map_a]))
        return Features(
            self._global(feature_map),
            self._apply_neck(own),
            self._apply_neck(cross1),
            self._apply_neck(cross2),
        )

    def _feature_map(self, images: dict[str, Tensor]) -> Tensor:
        """Return the float32 feature map [B, C, H', W'] of images by modality, in their order."""
        stems = {"visible": self.visible_stem, "infrared": self.infrared_stem}
        with torch.autocast(self.part_tokens.device.type, torch.bfloat16, self.autocast):
            stemmed = [
                self._stem(stems[modality], side.contiguous(memory_format=self.memory_format))
                for modality, side in images.items()
                if len(side)  # batch norm cannot train on nothing
            ]
            return self.trunk(torch.cat(stemmed)).float()

    def _stem(self, stem: Stem, images: Tensor) -> Tensor:
        return keep_input_only(stem, images) if self.trunk.num_checkpointed else stem(images)

    def _global(self, feature_map: Tensor) -> Tensor:
        return self.global_neck(generalized_mean(feature_map))

    def _own_parts(self, feature_map: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        stripes = split_stripes(feature_map, self.num_parts)
        query = prototypes(stripes, self.part_tokens)
        return stripes, attend(query, stripes), query

    def _apply_neck(self, parts: Tensor) -> Tensor:
        return self.part_neck(parts.flatten(1)).unflatten(1, (self.num_parts, -1))


def misfits(network: Network, state: Mapping[str, Any]) -> list[str]:
    """Return the names of a state's entries that the network lacks or has otherwise, or that miss.

    Args:
        network: the one to load the state into.
        state: name -> tensor.
    """
    wanted = network.state_dict()

    def fits(name: str) -> bool:
        mine, other = wanted.get(name), state.get(name)
        if not (isinstance(mine, Tensor) and isinstance(other, Tensor)):
            return False
        return mine.shape == other.shape and mine.dtype == other.dtype

    return [name for name in dict.fromkeys([*wanted, *state]) if not fits(name)]


def generalized_mean(feature_map: Tensor) -> Tensor:
    """Return the GeM pooling (mean(x^3) + 1e-12)^(1/3), [B, C] from [B, C, H, W]."""
    powered = feature_map.pow(_GEM_POWER).mean(dim=(2, 3))
    return (powered + _GEM_FLOOR).pow(1 / _GEM_POWER)


def split_stripes(feature_map: Tensor, num_parts: int) -> Tensor:
    """Return the map's tokens, row by row, as stripes [B, P, T, C] with T = H * W // P.

    Tokens beyond P * T, where H * W is not a multiple of P, are left out.
    """
    tokens = feature_map.flatten(2).mT
    length = tokens.shape[1] // num_parts
    return tokens[:, : num_parts * length].unflatten(1, (num_parts, length))


def prototypes(stripes: Tensor, part_tokens: Tensor) -> Tensor:
    """Return the image-adaptive part prototypes q [B, P, C].

    q_i is the mean of stripe i's tokens x, weighted by sigmoid(p_i . x).

    Args:
        stripes: [B, P, T, C].
        part_tokens: [P, C], the learnable p_i.
    """
    logits = torch.einsum("bptc,pc->bpt", stripes, part_tokens)
    # Normalized in logarithms: all sigmoids of a stripe may be too small for float32.
    weights = F.logsigmoid(logits).softmax(dim=2)
    return torch.einsum("bpt,bptc->bpc", weights, stripes)


def attend(query: Tensor, stripes: Tensor) -> Tensor:
    """Return f(query image, map image), [B, P, C]: softmax attention over each stripe.

    f_i = sum_t softmax_t(q_i . x_t / sqrt(C)) x_t over the tokens x_t of stripe i.

    Args:
        query: [B, P, C] prototypes of the query images.
        stripes: [B, P, T, C] tokens of the map images.
    """
    scores = torch.einsum("bpc,bptc->bpt", query, stripes) / query.shape[-1] ** 0.5
    return torch.einsum("bpt,bptc->bpc", scores.softmax(dim=2), stripes)


def inference_features(global_features: Tensor, parts: Tensor) -> tuple[Tensor, Tensor]:
    """Return the two features of evaluation, unit rows.

    Args:
        global_features: [B, C] from `Network.forward`.
        parts: [B, P, C] from `Network.forward`.

    Returns:
        the global feature [B, C], which the paper's numbers use, and the concatenation
        [parts, global], of shape [B, P*C + C].
    """
    joint = torch.cat([parts.flatten(1), global_features], dim=1)
    return F.normalize(global_features, dim=1), F.normalize(joint, dim=1)


def _neck(num_channels: int) -> nn.BatchNorm1d:
    """Return a batch norm whose bias stays at 0; it exists for checkpoints that hold one."""
    neck = nn.BatchNorm1d(num_channels)
    nn.init.normal_(neck.weight, 1.0, 0.01)
    neck.bias.requires_grad_(False)
    return neck
