"""numerics.checkpoint: activations that are computed twice; numerics.deterministic."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.memory import step_bytes
from salcr.config.loading import DEFAULT_CONFIG, stage_flags, validate
from salcr.config.reading import merge, read_configuration
from salcr.config.schema import Numerics
from salcr.errors import SalcrError
from salcr.models.features import to_device
from salcr.models.network import Network

PLAIN = {"autocast": "never", "channels_last": True, "compile": False}


def make_network(device: torch.device | str = "cpu", **numerics: object) -> Network:
    """Return the same small network with each backbone block of the paper's, in training mode."""
    torch.manual_seed(0)
    network = Network(backbone="resnet50", width=8, num_parts=2).train()
    return to_device(network, torch.device(device), Numerics(**{**PLAIN, **numerics}))


def trained(network: Network, batch: list[torch.Tensor]) -> tuple[dict, dict]:
    """Return gradients and buffers after the passes of a stage-two step."""
    features = network.forward_aligned(*batch)
    sum(rows.square().sum() for rows in features).backward()
    gradients = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    return gradients, dict(network.named_buffers())


@pytest.mark.parametrize("checkpoint", ["early", "all"])
@pytest.mark.parametrize("autocast", ["never", "always"])
def test_results_are_those_without(
    device: torch.device, rng: np.random.Generator, checkpoint: str, autocast: str
) -> None:
    """All gradients and running statistics have the same bits."""
    views = rng.random((3, 4, 3, 64, 32), dtype=np.float32)
    batch = [torch.from_numpy(view).to(device) for view in views]
    networks = (make_network(device, autocast=autocast, checkpoint=c) for c in ("none", checkpoint))
    (plain, plain_state), (again, state) = (trained(network, batch) for network in networks)
    assert plain.keys() == again.keys() and state["trunk.layer1.0.bn1.num_batches_tracked"] == 1
    assert all(torch.equal(plain[name], again[name]) for name in plain)
    assert all(torch.equal(plain_state[name], state[name]) for name in state)


def test_less_memory() -> None:
    """Less than 0.7 and 0.45 of a narrow network's memory; test_memory counts the paper's."""
    network, images = make_network(autocast="always"), torch.rand(12, 3, 96, 48)
    none, early, all_ = (step_bytes(network, images, c) for c in ("none", "early", "all"))
    assert 0.4 < early / none < 0.7 and 0.2 < all_ / none < 0.45


def test_a_key_that_came_later_leaves_no_trace_where_it_is_off() -> None:
    """Flags and dumps name such a key only where it is not as before it existed."""
    settings = read_configuration(DEFAULT_CONFIG)
    off = validate(settings)
    on = validate(merge(settings, {"numerics": {"checkpoint": "all", "deterministic": True}}))
    assert "checkpoint" not in off.model_dump()["numerics"]
    assert "numerics-checkpoint" not in stage_flags(off, "train")
    assert "--numerics-checkpoint all --numerics-deterministic true" in stage_flags(on, "train")
    assert validate(off.model_dump()) == off and validate(on.model_dump()) == on


def test_defaults_of_later_keys_are_those_of_the_file() -> None:
    """A job without the flag has the value of default.yaml, so both must be the same."""
    settings = read_configuration(DEFAULT_CONFIG)
    for section, values in validate(settings):
        for key, field in getattr(type(values), "model_fields", {}).items():
            assert field.is_required() or settings[section][key] == field.default, (section, key)


def test_compiled_layers_are_not_computed_again() -> None:
    """Both keys together are refused with what to change."""
    both = {"numerics": {"checkpoint": "early", "compile": True}}
    with pytest.raises(SalcrError, match="numerics: checkpoint: with compile"):
        validate(merge(read_configuration(DEFAULT_CONFIG), both))


def test_deterministic_algorithms_are_for_gpus(
    device: torch.device, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for, torch's switch is on for a GPU, and two equal trainings end with equal bits."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    views = rng.random((3, 4, 3, 64, 32), dtype=np.float32)
    batch = [torch.from_numpy(view).to(device) for view in views]
    try:
        networks = (make_network(device, deterministic=True) for _ in range(2))
        (one, _), (two, _) = (trained(network, batch) for network in networks)
        assert torch.are_deterministic_algorithms_enabled() == (device.type == "cuda")
        assert all(torch.equal(one[name], two[name]) for name in one)
        make_network(device)
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(("capability", "has"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_bfloat16_is_for_gpus_that_compute_in_it(
    device: torch.device, monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], has: bool
) -> None:
    """Turing emulates bfloat16: there, auto is single precision."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    on_card = device.type == "cuda"
    assert make_network(device, autocast="auto").autocast == (has and on_card)
    assert make_network(device, autocast="always").autocast
