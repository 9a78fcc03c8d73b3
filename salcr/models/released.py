"""The parameter names of the released SALCR code, and ours."""

from __future__ import annotations

from torch import Tensor

# The released network keeps unused copies: layer1-4 in the two modality modules and a stem in the
# shared one. Only these prefixes hold what the forward pass uses.
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
    """Return a released state dict under our names, and the entries that nothing uses.

    Args:
        released: names as released, possibly all with the prefix `module.`.
    """
    ours, unused = {}, []
    for name, value in released.items():
        target = _our_name(name.removeprefix("module."))
        if target is None:
            unused.append(name)
        else:
            ours[target] = value
    return ours, unused


def _our_name(name: str) -> str | None:
    for theirs, ours in _STEMS.items():
        if name.startswith((f"{theirs}conv1.", f"{theirs}bn1.")):
            return ours + name.removeprefix(theirs)
    for theirs, ours in _OTHERS.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return None
