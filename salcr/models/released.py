"""Networks of the released SALCR code as those of this project."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from salcr.errors import SalcrError
from salcr.models.network import Network, misfits
from salcr.models.resnet import ARCHITECTURES

_WIDTH = 64  # of all networks of the released code

# The released network has unused copies: layer1-4 in the two modality modules and a stem in the
# shared one. Only the parameters with these prefixes are used by its forward pass.
_STEMS = {
    "visible_module.visible.": "visible_stem.",
    "thermal_module.thermal.": "infrared_stem.",
}
_OTHERS = {
    "base_resnet.base.layer": "trunk.layer",
    "bottleneck.": "global_neck.",
    "bottleneck_part.": "part_neck.",
    "attn_pool.part_tokens": "part_tokens",
}


def rename_parameters(released: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Return a released state dict under the names of `Network`, and the names that are unused.

    Args:
        released: names as released, possibly all with the prefix `module.`.
    """
    state, unused = {}, []
    for name, value in released.items():
        new_name = _new_name(name.removeprefix("module."))
        if new_name is None:
            unused.append(name)
        else:
            state[new_name] = value
    return state, unused


def build_network(state: dict[str, Tensor], source: Path) -> Network:
    """Return a network with a state, of the backbone that fits it.

    Args:
        state: parameters under the names of `Network`, see `rename_parameters`.
        source: file of the state, for messages.

    Raises:
        SalcrError: the state does not fit a backbone.
    """
    tokens = state.get("part_tokens")
    if tokens is None or tokens.dim() != 2 or len(tokens) == 0:
        raise SalcrError(
            f"{source}: not a checkpoint of the released SALCR code: it has no "
            "attn_pool.part_tokens"
        )
    unfit = {}
    for backbone in ARCHITECTURES:
        with torch.device("meta"):  # no memory, no random numbers
            network = Network(backbone=backbone, width=_WIDTH, num_parts=len(tokens))
        unfit[backbone] = misfits(network, state)
        if not unfit[backbone]:
            network.load_state_dict(state, assign=True)
            return network
    backbone, names = min(unfit.items(), key=lambda item: len(item[1]))
    raise SalcrError(
        f"{source}: does not fit a known backbone; for the closest, {backbone}, {len(names)} "
        f"parameters are missing, unknown or of another shape or type: {', '.join(names[:3])} ..."
    )


def _new_name(name: str) -> str | None:
    for old, new in _STEMS.items():
        if name.startswith((f"{old}conv1.", f"{old}bn1.")):
            return new + name.removeprefix(old)
    for old, new in _OTHERS.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return None
