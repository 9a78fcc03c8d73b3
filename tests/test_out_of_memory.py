"""Out of memory: a message that names the key to lower, nothing half-written."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch

from salcr.__main__ import _less_memory
from salcr.errors import is_out_of_memory
from salcr.models.network import Network
from salcr.models.tensor_files import read_checkpoint, write_checkpoint
from tests.support import tiny


@pytest.mark.parametrize(
    ("error", "stage", "key"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "train", "train.labels or train.instances"),
        (torch.OutOfMemoryError("CUDA out of memory"), "pretrain", "pretrain.clusters or"),
        (RuntimeError("cuBLAS: CUBLAS_STATUS_ALLOC_FAILED"), "train", "train.labels"),
        (MemoryError("Unable to allocate 9 GiB"), "train", "preprocess.height"),
    ],
)
def test_running_out_of_memory_names_the_key_to_lower(
    stage_one: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    stage: str,
    key: str,
) -> None:
    """If a batch does not fit in GPU or main memory, the key is named; nothing is written."""
    data = stage_one / "data"
    (tmp_path / "round00").symlink_to(stage_one / "round00")
    assert tiny.associate(data, tmp_path, 1) == 0

    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Network, "forward_global", full)
    monkeypatch.setattr(Network, "forward_aligned", full)
    capsys.readouterr()
    out = tmp_path / "out"
    words = (data, out) if stage == "pretrain" else (data, tmp_path, 1)
    assert getattr(tiny, stage)(*words) == 1
    text = capsys.readouterr().err
    assert "error: out of memory" in text and key in text and str(error) in text
    assert "Traceback" not in text
    assert not out.exists() and not (tmp_path / "round01/checkpoint.pt").exists()


_SHARED, _CHECKPOINT, _BFLOAT16 = "nvidia-smi", "numerics.checkpoint", "numerics.autocast"


@pytest.mark.parametrize(
    ("stage", "gpu", "given", "advice"),
    [
        ("train", True, {"autocast": "auto"}, [_SHARED, _CHECKPOINT, "train.labels"]),
        ("rounds", True, {"checkpoint": "all"}, [_SHARED, _BFLOAT16, "train.labels"]),
        ("pretrain", False, {}, [_CHECKPOINT, _BFLOAT16, "halves, or lower pretrain.clusters"]),
        ("evaluate", False, {"autocast": "auto"}, [_BFLOAT16, "preprocess.height"]),
        ("train", False, {"threads": 3}, ["3 on 2 cores", _CHECKPOINT, _BFLOAT16, "train.labels"]),
        ("label-quality", False, {"autocast": None}, ["preprocess.height"]),
        ("synthesize", False, {"autocast": None}, ["synthesize.num_identities"]),
        ("aggregate", False, {"autocast": None, "data": None}, ["use a machine with more"]),
    ],
)
def test_the_advice_fits_the_stage(
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    gpu: bool,
    given: dict[str, object],
    advice: list[str],
) -> None:
    """First what changes no result, last what changes the method; only keys of the stage."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    words = {"threads": 2, "data": Path(), "autocast": "never", "checkpoint": "none", **given}
    for key in ("autocast", "checkpoint"):
        words[f"numerics.{key}"] = words.pop(key)
    if words["data"] is None:
        del words["data"]
    words["stage"] = stage
    parts = _less_memory(argparse.Namespace(**words), gpu=gpu).split("; or ")
    assert len(parts) == len(advice)
    assert all(one in part for one, part in zip(advice, parts, strict=True))


def test_torch_says_so_on_a_cpu_too():
    """The error of torch for four petabytes is not treated as a bug; other errors are."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    assert is_out_of_memory(caught.value)
    with pytest.raises(RuntimeError) as caught:
        torch.eye(2) @ torch.eye(3)
    assert not is_out_of_memory(caught.value)


def test_a_file_for_which_there_is_no_room_is_not_called_damaged(tmp_path, monkeypatch):
    """If a checkpoint is read onto a full GPU, the message must not advise deleting it."""
    write_checkpoint(tmp_path / "network.pt", {"round": 0})

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "load", full)
    with pytest.raises(torch.OutOfMemoryError):
        read_checkpoint(tmp_path / "network.pt")
