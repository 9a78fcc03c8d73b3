"""The network (METHOD 1) reimplemented: torchvision's ResNet-50, then parts by row in float64.

Nothing here is imported from salcr; see slow_method.py. The layers up to the map run in float32, as
for the released values: a neck divides six rows by their deviation and so magnifies the rounding of
53 layers to 4e-3 for the parts, which float64 would reveal as a difference.
"""

from __future__ import annotations

import zlib
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import batch_norm, conv2d, max_pool2d, relu
from torchvision.models import ResNet, resnet50

from tests.reference.slow_losses import CROSSED, GROUPS, SPACES
from tests.reference.slow_method import Arrays
from tests.support.helpers import golden_shapes

# the released names of a modality's stem and of the trunk
STEMS = {"visible": "visible_module.visible", "infrared": "thermal_module.thermal"}
TRUNK = "base_resnet.base"
STAGES = ("layer1", "layer2", "layer3", "layer4")
HEIGHT, WIDTH = 288, 144
Shapes = dict[str, list[int]]
Weights = dict[str, Tensor]


@cache
def _skeleton() -> ResNet:
    """Return a ResNet-50 without values whose last stage keeps the size of the map."""
    with torch.device("meta"):
        network = resnet50(weights=None)
    network.layer4[0].conv2.stride = network.layer4[0].downsample[0].stride = (1, 1)
    return network


def released_shapes(num_parts: int) -> Shapes:
    """Return name -> shape of every parameter of a released checkpoint with that many parts."""
    shapes = golden_shapes()
    shapes["attn_pool.part_tokens"] = [num_parts, 2048]
    leaves = ("weight", "bias", "running_mean", "running_var")
    return shapes | {f"bottleneck_part.{leaf}": [num_parts * 2048] for leaf in leaves}


def random_parameter(name: str, shape: list[int], seed: int) -> Tensor:
    """Return a random parameter as golden/README.md specifies, in float32."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    if name.endswith("num_batches_tracked"):
        values: Any = np.zeros(shape)
    elif name.endswith("running_var"):
        values = rng.uniform(0.5, 1.5, shape)
    elif name.endswith("running_mean"):
        values = rng.normal(0, 0.1, shape)
    elif name.endswith("bias"):
        values = rng.normal(0, 0.05, shape)
    elif len(shape) == 1:
        values = rng.uniform(0.8, 1.2, shape)
    elif len(shape) == 4:
        values = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
    else:
        values = rng.normal(0, 0.02, shape)
    return torch.from_numpy(np.asarray(values, np.float32))


class SlowNetwork:
    """The released network with random weights."""

    def __init__(self, shapes: Shapes, seed: int) -> None:
        """Generate the parameters that a forward pass reads, and only those."""
        self.weights: Weights = {}
        for name, shape in shapes.items():
            stem = name.startswith(tuple(STEMS.values())) and ".layer" not in name
            trunk = name.startswith(tuple(f"{TRUNK}.{stage}" for stage in STAGES))
            if stem or trunk or name.startswith("bottleneck") or name == "attn_pool.part_tokens":
                self.weights[name] = random_parameter(name, shape, seed)
        self.tokens = self.weights["attn_pool.part_tokens"].double()
        self.trunk = _skeleton()
        self.trunk.load_state_dict(
            {
                name.removeprefix(f"{TRUNK}."): values
                for name, values in self.weights.items()
                if name.startswith(TRUNK)
            },
            strict=False,  # neither the stem nor the classifier is used
            assign=True,
        )

    def maps(self, batches: list[tuple[str, Tensor]], training: bool) -> Tensor:
        """Return the maps of batches, each with its stem, all with one trunk, in float64."""
        feature_maps = torch.cat(
            [self._stem(images, STEMS[name], training) for name, images in batches]
        )
        for stage in STAGES:
            feature_maps = getattr(self.trunk, stage).train(training)(feature_maps)
        return feature_maps.double()

    def _stem(self, images: Tensor, name: str, training: bool) -> Tensor:
        features = conv2d(images, self.weights[f"{name}.conv1.weight"], stride=2, padding=3)
        return max_pool2d(relu(self.neck(features, f"{name}.bn1", training)), 3, 2, 1)

    def neck(self, rows: Tensor, name: str, training: bool) -> Tensor:
        """Return the rows after a batch norm, using their own statistics in training."""
        leaves = ("running_mean", "running_var", "weight", "bias")
        # copies, because a batch norm updates its running statistics
        values = [self.weights[f"{name}.{leaf}"].to(rows.dtype, copy=True) for leaf in leaves]
        return batch_norm(rows, *values, training=training)

    def queries(self, map_: Tensor) -> list[Tensor]:
        """Return the part prototypes of one image's map."""
        prototypes = []
        for token, stripe in zip(self.tokens, self.stripes(map_), strict=True):
            # Random weights make eval maps so large that all sigmoids of a stripe can be 0 even in
            # float64; their shares of the sum are unchanged by a common factor of all sigmoids.
            logarithms = -torch.logaddexp(-(stripe @ token), torch.zeros(len(stripe)).double())
            weights = torch.exp(logarithms - logarithms.max())
            prototypes.append(weights / weights.sum() @ stripe)
        return prototypes

    def stripes(self, map_: Tensor) -> list[Tensor]:
        """Return the tokens of every part's stripe; those that do not divide evenly are dropped."""
        flat, num_parts = map_.flatten(1).T, len(self.tokens)
        size = len(flat) // num_parts
        return [flat[part * size : (part + 1) * size] for part in range(num_parts)]

    def attended(self, query_map: Tensor, looked_at: Tensor) -> Tensor:
        """Return f(query image, map image), with the parts concatenated."""
        features = []
        for query, stripe in zip(self.queries(query_map), self.stripes(looked_at), strict=True):
            weights = torch.softmax(stripe @ query / np.sqrt(len(query)), dim=0)
            features.append(weights @ stripe)
        return torch.cat(features)


def generalized_mean(maps: Tensor) -> Tensor:
    """Return the global features before the neck."""
    return ((maps**3).mean(dim=(2, 3)) + 1e-12) ** (1 / 3)


@torch.no_grad()
def forward(data: Arrays, shapes: Shapes) -> Arrays:
    """Return the results in network.npz for the seeds in `data`."""
    network = SlowNetwork(shapes, int(data["weight_seed"]))
    rng = np.random.default_rng(int(data["image_seed"]))
    both, v, a, r = (_images(rng) for _ in range(4))
    results: Arrays = {}
    for modality in SPACES:
        maps = network.maps([(modality, both)], training=False)
        global_ = network.neck(generalized_mean(maps), "bottleneck", training=False)
        parts = torch.stack([network.attended(map_, map_) for map_ in maps])
        parts = network.neck(parts, "bottleneck_part", training=False)
        results[f"eval_{modality}_global"] = _unit(global_)
        results[f"eval_{modality}_concat"] = _unit(torch.cat([parts, global_], dim=1))
    maps = network.maps([("visible", torch.cat([v, a])), ("infrared", r)], training=True)
    by_group = dict(zip(GROUPS, maps.split(len(r)), strict=True))
    global_ = network.neck(generalized_mean(maps), "bottleneck", training=True)
    outputs = {"global": global_}
    for name, pairs in CROSSED.items():
        rows = [
            network.attended(*maps_)
            for query, looked_at in pairs
            for maps_ in zip(by_group[query], by_group[looked_at], strict=True)
        ]
        parts = network.neck(torch.stack(rows), "bottleneck_part", training=True)
        outputs[name] = torch.cat([parts, global_], dim=1)
    for name, features in outputs.items():
        results[f"train_{name}_visible"] = features[: 2 * len(r)].numpy()
        results[f"train_{name}_infrared"] = features[2 * len(r) :].numpy()
    return results


def _images(rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.standard_normal((2, 3, HEIGHT, WIDTH)).astype(np.float32))


def _unit(rows: Tensor) -> Any:
    return (rows / rows.square().sum(dim=1, keepdim=True).sqrt()).numpy()
