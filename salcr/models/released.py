"""Parameter names of the released SALCR code and of this project."""

from __future__ import annotations

from torch import Tensor

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


def _new_name(name: str) -> str | None:
    for old, new in _STEMS.items():
        if name.startswith((f"{old}conv1.", f"{old}bn1.")):
            return new + name.removeprefix(old)
    for old, new in _OTHERS.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return None
