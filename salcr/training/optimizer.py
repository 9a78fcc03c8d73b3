"""Adam by torch's functional form.

torch.optim.Optimizer imports the compiler (torch._dynamo, sympy) when it is first used, which
takes every job over a second; what it calls for a step does not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from salcr.errors import SalcrError

_BETAS, _EPSILON = (0.9, 0.999), 1e-8  # torch's defaults
_STATE = ("step", "exp_avg", "exp_avg_sq")


class Adam:
    """Adam (Kingma and Ba, 2015), its numbers and its saved state those of torch.optim.Adam.

    Args:
        parameters: to train; one without a gradient is left alone in a step.
        learning_rate: may be set between steps.
        weight_decay: L2 penalty.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, learning_rate: float, weight_decay: float
    ) -> None:
        self.parameters = list(parameters)
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self._state: dict[int, dict[str, Tensor]] = {}

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move the parameters that have a gradient."""
        moved = {i: p for i, p in enumerate(self.parameters) if p.grad is not None}
        for index in moved.keys() - self._state.keys():
            self._state[index] = _at_start(moved[index])
        steps, means, squares = ([self._state[i][name] for i in moved] for name in _STATE)
        gradients = [parameter.grad for parameter in moved.values() if parameter.grad is not None]
        adam(
            list(moved.values()),
            gradients,
            means,
            squares,
            [],
            steps,
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            beta1=_BETAS[0],
            beta2=_BETAS[1],
            eps=_EPSILON,
            amsgrad=False,
            maximize=False,
            fused=True,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return {"state": {position of a parameter: {"step", "exp_avg", "exp_avg_sq"}}}."""
        return {"state": dict(sorted(self._state.items()))}

    @torch.no_grad()
    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from a copy of what `state_dict`, or torch.optim.Adam's, returned.

        Raises:
            KeyError: an entry is missing.
            ValueError: the state is of other parameters.
        """
        state = {}
        for index, entries in saved["state"].items():
            parameter = self.parameters[index] if index < len(self.parameters) else None
            if parameter is None or entries["exp_avg"].shape != parameter.shape:
                raise ValueError(f"parameter {index} is missing or has another shape")
            # The fused step wants moments in the parameter's memory layout, whatever the file's.
            fresh = _at_start(parameter)
            state[index] = {name: fresh[name].copy_(entries[name]) for name in _STATE}
        self._state = state


def _at_start(parameter: nn.Parameter) -> dict[str, Tensor]:
    """Return the state before the first step, on the parameter's device and in its layout."""
    return {
        "step": torch.zeros((), device=parameter.device),
        "exp_avg": torch.zeros_like(parameter),
        "exp_avg_sq": torch.zeros_like(parameter),
    }


def make_optimizer(network: nn.Module, learning_rate: float, weight_decay: float) -> Adam:
    """Return Adam over the parameters that are trained."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return Adam(trained, learning_rate=learning_rate, weight_decay=weight_decay)


def decayed_rate(learning_rate: float, milestones: Iterable[int], epoch: int) -> float:
    """Return the learning rate of an epoch: a tenth for every milestone that was reached."""
    return learning_rate * 0.1 ** sum(epoch >= milestone for milestone in milestones)


def optimizer_step(losses: dict[str, Tensor], optimizer: Adam) -> dict[str, float]:
    """Take one step down losses["total"] and return all losses as numbers.

    Raises:
        SalcrError: the total is not finite; the parameters are not touched then.
    """
    values = {name: loss.item() for name, loss in losses.items()}
    if not np.isfinite(values["total"]):
        shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        raise SalcrError(
            f"the loss is not finite ({shown}): lower the learning rate "
            "(pretrain.learning_rate, train.learning_rate) or raise memory.temperature"
        )
    optimizer.zero_grad()
    losses["total"].backward()
    optimizer.step()
    return values
