"""Adam, based on torch's functional form.

torch.optim.Optimizer imports the compiler (torch._dynamo, sympy) when it is first used, which
takes over a second in every job; the function that computes its step does not.
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
    """Adam (Kingma and Ba, 2015), with the results and the saved state of torch.optim.Adam.

    Args:
        parameters: parameters to train; a step does not change those without a gradient.
        learning_rate: may be changed between steps.
        weight_decay: L2 penalty.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, learning_rate: float, weight_decay: float
    ) -> None:
        self.parameters = list(parameters)
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self._state: dict[int, dict[str, Tensor]] = {}

    def zero_grad(self) -> None:
        """Delete all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters that have a gradient."""
        updated = {i: p for i, p in enumerate(self.parameters) if p.grad is not None}
        for index in updated.keys() - self._state.keys():
            self._state[index] = _initial_state(updated[index])
        steps, means, squares = ([self._state[i][name] for i in updated] for name in _STATE)
        gradients = [parameter.grad for parameter in updated.values() if parameter.grad is not None]
        adam(
            list(updated.values()),
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
        """Restore a copy of the state from `state_dict`, here or of torch.optim.Adam.

        Raises:
            ValueError: the state is of other parameters.
        """
        state = {}
        for index, entries in saved["state"].items():
            parameter = self.parameters[index] if index < len(self.parameters) else None
            # The fused step needs moments in the memory layout of the parameter, not of the file.
            initial = {} if parameter is None else _initial_state(parameter)
            if not initial or any(not _fits(entries.get(name), initial[name]) for name in _STATE):
                raise ValueError(f"parameter {index} is missing or has another shape")
            state[index] = {name: initial[name].copy_(entries[name]) for name in _STATE}
        self._state = state


def _fits(saved: object, initial: Tensor) -> bool:
    return isinstance(saved, Tensor) and saved.shape == initial.shape


def _initial_state(parameter: nn.Parameter) -> dict[str, Tensor]:
    """Return the state before the first step, on the parameter's device and in its layout."""
    return {
        "step": torch.zeros((), device=parameter.device),
        "exp_avg": torch.zeros_like(parameter),
        "exp_avg_sq": torch.zeros_like(parameter),
    }


def make_optimizer(network: nn.Module, learning_rate: float, weight_decay: float) -> Adam:
    """Return Adam for the parameters of a network that require a gradient."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return Adam(trained, learning_rate=learning_rate, weight_decay=weight_decay)


def decayed_rate(learning_rate: float, milestones: Iterable[int], epoch: int) -> float:
    """Return learning_rate * 0.1^n, with n the number of milestones up to the epoch."""
    return learning_rate * 0.1 ** sum(epoch >= milestone for milestone in milestones)


def finite_values(losses: dict[str, Tensor]) -> dict[str, float]:
    """Return the values of all losses, with one wait for the device.

    Raises:
        SalcrError: losses["total"] is not finite.
    """
    values = dict(zip(losses, torch.stack(list(losses.values())).tolist(), strict=True))
    if not np.isfinite(values["total"]):
        summary = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        raise SalcrError(
            f"the loss is not finite ({summary}): lower the learning rate "
            "(pretrain.learning_rate, train.learning_rate) or raise memory.temperature"
        )
    return values
