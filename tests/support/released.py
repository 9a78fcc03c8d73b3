"""A network as the released code names its parameters."""

from __future__ import annotations

from torch import Tensor

from salcr.models.network import Network


def released_like(network: Network) -> dict[str, Tensor]:
    """Return a network's state under the released names, the inverse of `rename_parameters`."""
    names = {
        "visible_stem.": "visible_module.visible.",
        "infrared_stem.": "thermal_module.thermal.",
        "trunk.": "base_resnet.base.",
        "global_neck.": "bottleneck.",
        "part_neck.": "bottleneck_part.",
        "part_tokens": "attn_pool.part_tokens",
    }
    state = {}
    for name, value in network.state_dict().items():
        (ours,) = (start for start in names if name.startswith(start))
        state[names[ours] + name.removeprefix(ours)] = value.clone()
    return state
