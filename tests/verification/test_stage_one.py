"""The check of stage one: agrees with the golden values, and detects deviations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from salcr.verification.stage_one import stage_one
from tests.support.helpers import GOLDEN


def failures(data: dict[str, np.ndarray], device: torch.device) -> list[str]:
    """Return the first words of the names of the comparisons that fail."""
    compared = list(stage_one(data, GOLDEN, device))
    assert len(compared) == 16
    return [one.name.partition(" ")[0].rstrip(",") for one in compared if not one.passes]


def test_stage_one_agrees(golden, device):
    """A step, both forms of the transform and the five shares agree with the released code's."""
    assert failures(golden("stage_one"), device) == []


@pytest.mark.parametrize(
    ("array", "factor", "failing"),
    [
        ("ltg_outputs", 1.001, ["ltg_outputs"] * 2),
        ("ltg_factors", 0.999, ["ltg_outputs"] * 2),
        ("momentum", 1.1, ["grad_v", "updated_visible", "updated_infrared"]),
        ("infrared_shares", 1.07, ["infrared_shares"] * 3),
    ],
)
def test_a_deviation_is_detected(golden, device, array, factor, failing):
    """Other outputs, factors, momenta, or shares of the channels fail in their own comparisons."""
    data = golden("stage_one")
    changed = data[array] * np.float32(factor)
    if array == "infrared_shares":  # gray and unchanged keep theirs
        changed[3:] = data[array][3:]
    assert failures({**data, array: changed}, device) == failing
