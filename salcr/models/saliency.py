"""Heat maps of a network: the attention of its parts, and Grad-CAM of a cross-modality match."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from salcr.models.network import Network, prototypes, split_stripes
from salcr.types import Floats


def part_attention(feature_map: Tensor, part_tokens: Tensor) -> Tensor:
    """Return the weight of each position in the part feature of its stripe.

    These are the weights with which `network.attend` computes f(x, x): a softmax over each of the
    P stripes, with sum 1. Positions beyond the last whole stripe have weight 0.

    Args:
        feature_map: [B, C, H, W].
        part_tokens: [P, C], the learnable tokens.

    Returns:
        [B, H, W], in [0, 1].
    """
    stripes = split_stripes(feature_map, len(part_tokens))
    query = prototypes(stripes, part_tokens)
    scores = torch.einsum("bpc,bptc->bpt", query, stripes) / query.shape[-1] ** 0.5
    weights = scores.softmax(dim=2).flatten(1)
    height, width = feature_map.shape[2:]
    rest = height * width - weights.shape[1]
    return F.pad(weights, (0, rest)).unflatten(1, (height, width))


def grad_cam(feature_map: Tensor, similarity: Tensor) -> Tensor:
    """Return Grad-CAM (Selvaraju et al., ICCV 2017) of a similarity, [B, H, W], not negative.

    relu(sum_c a_c A_c) with the channels A_c of the map and a_c the mean over positions of
    dy/dA_c.

    Args:
        feature_map: A, [B, C, H, W], from which the similarity was computed.
        similarity: y, [B]; each value depends on its own image only.
    """
    (gradient,) = torch.autograd.grad(similarity.sum(), feature_map)
    weights = gradient.float().mean(dim=(2, 3), keepdim=True)
    return (weights * feature_map.detach().float()).sum(dim=1).relu()


def compute_heat_maps(
    network: Network, images: Tensor, modality: str, partners: Tensor
) -> tuple[Floats, Floats, Floats]:
    """Return part attention, Grad-CAM and the cosines with partner images, for one modality.

    Grad-CAM differentiates the cosine of an image's global feature (after its batch norm) and that
    of its partner, which is constant, with respect to the trunk's last feature map.

    Args:
        network: put into evaluation mode.
        images: [B, 3, H, W], normalized, on the network's device.
        modality: of the images.
        partners: [B, C], unit global features of images of the other modality.

    Returns:
        part attention [B, H', W'], Grad-CAM [B, H', W'], cosines [B].
    """
    network.eval()
    maps: list[Tensor] = []
    hook = network.trunk.register_forward_hook(lambda module, inputs, output: maps.append(output))
    with hook, torch.enable_grad():
        global_features, _ = network(images, modality)
        similarity = (F.normalize(global_features, dim=1) * partners).sum(dim=1)
        cam = grad_cam(maps[0], similarity)
    with torch.no_grad():
        attention = part_attention(maps[0].float(), network.part_tokens)
    return _array(attention), _array(cam), _array(similarity)


def _array(values: Tensor) -> Floats:
    array: Floats = values.detach().cpu().numpy().astype(np.float32)
    return array
