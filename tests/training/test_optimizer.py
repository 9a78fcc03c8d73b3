"""Adam against torch.optim.Adam, bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from salcr.training.optimizer import Adam

SHAPES = [(4, 3, 3, 3), (4,), (5, 4), ()]


def parameters(device: torch.device) -> list[nn.Parameter]:
    """Return parameters that are the same for every call, one in channels-last layout."""
    draws = torch.Generator().manual_seed(0)
    tensors = [torch.randn(shape, generator=draws).to(device) for shape in SHAPES]
    tensors[0] = tensors[0].contiguous(memory_format=torch.channels_last)
    return [nn.Parameter(tensor) for tensor in tensors]


def give_gradients(parameter_list: list[nn.Parameter], step: int) -> None:
    """Set gradients that depend on the step alone; the second parameter has none at first.

    Like those of autograd, they have the layout of their parameter; a GPU's fused step needs it.
    """
    draws = torch.Generator().manual_seed(step)
    for index, parameter in enumerate(parameter_list):
        gradient = torch.empty_like(parameter).copy_(torch.randn(parameter.shape, generator=draws))
        parameter.grad = None if index == 1 and step < 2 else gradient


def test_steps_and_state_are_those_of_torch(device):
    """Over steps with changing rates, parameters and state are bitwise equal to torch's."""
    ours, theirs = parameters(device), parameters(device)
    adam = Adam(ours, learning_rate=1e-2, weight_decay=0.1)
    reference = torch.optim.Adam(theirs, lr=1e-2, weight_decay=0.1, fused=True)
    for step in range(4):
        adam.learning_rate = reference.param_groups[0]["lr"] = 1e-2 / (1 + step)
        for side in (ours, theirs):
            give_gradients(side, step)
        adam.step()
        reference.step()
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine, other)
    actual, expected = adam.state_dict()["state"], reference.state_dict()["state"]
    assert actual.keys() == expected.keys()
    for index, entries in expected.items():
        assert actual[index].keys() == entries.keys()
        assert all(torch.equal(actual[index][name], entries[name]) for name in entries)
    adam.zero_grad()
    assert all(parameter.grad is None for parameter in ours)


def test_a_saved_state_continues(device):
    """Two steps, a file and two more steps equal four steps; a state saved by torch also works."""
    kinds = {
        "ours": lambda resumed: Adam(resumed, learning_rate=1e-2, weight_decay=0),
        "torch": lambda resumed: torch.optim.Adam(resumed, lr=1e-2, fused=True),
    }
    for first in kinds.values():
        resumed, uninterrupted = parameters(device), parameters(device)
        before, reference = first(resumed), kinds["ours"](uninterrupted)
        for step in range(4):
            for side in (resumed, uninterrupted):
                give_gradients(side, step)
            if step == 2:
                before, saved = kinds["ours"](resumed), before.state_dict()
                before.load_state_dict(saved)
            before.step()
            reference.step()
        assert all(torch.equal(*pair) for pair in zip(resumed, uninterrupted, strict=True))


@pytest.mark.parametrize(
    "layouts",
    [
        (torch.channels_last, torch.contiguous_format),
        (torch.contiguous_format, torch.channels_last),
    ],
)
def test_a_state_of_another_memory_layout_continues(device, layouts):
    """A step in one layout and another step in a second one, via the saved state, are two steps."""
    uncut, weights = parameters(device)[:1], parameters(device)[:1]
    reference, saved = Adam(uncut, learning_rate=1e-2, weight_decay=0), {"state": {}}
    for step, layout in enumerate(layouts):
        give_gradients(uncut, step)
        reference.step()
        weights = [nn.Parameter(weights[0].detach().clone(memory_format=layout))]
        adam = Adam(weights, learning_rate=1e-2, weight_decay=0)
        adam.load_state_dict(saved)
        give_gradients(weights, step)
        adam.step()
        saved = adam.state_dict()
    torch.testing.assert_close(weights[0], uncut[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("damage", ["shape", "more"])
def test_a_state_of_other_parameters_is_refused(damage):
    """A state of another shape or with more parameters raises a ValueError."""
    weights = parameters(torch.device("cpu"))
    adam = Adam(weights, learning_rate=1e-2, weight_decay=0)
    give_gradients(weights, 5)
    adam.step()
    kept = [*weights[:-1], nn.Parameter(torch.zeros(7))] if damage == "shape" else weights[:-1]
    with pytest.raises(ValueError, match="parameter 3"):
        Adam(kept, learning_rate=1e-2, weight_decay=0).load_state_dict(adam.state_dict())
