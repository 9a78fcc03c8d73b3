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


@pytest.mark.parametrize(
    ("stage", "data", "threads", "advice"),
    [
        ("train", True, 3, "lower compute.threads (3 on 2 cores), or train.labels"),
        ("evaluate", True, 2, "lower preprocess.height and preprocess.width; bfloat16"),
        ("label-quality", True, 1, "lower preprocess.height and preprocess.width"),
        ("embed", False, 2, "use a machine, or a GPU, with more; bfloat16 (numerics.autocast)"),
        ("synthesize", False, 1, "lower synthesize.num_identities"),
        ("aggregate", False, 1, "use a machine, or a GPU, with more"),
    ],
)
def test_the_advice_fits_the_stage(
    monkeypatch: pytest.MonkeyPatch, stage: str, data: bool, threads: int, advice: str
) -> None:
    """Only keys that the stage has are named, and more threads than cores come first."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    words = {"stage": stage, "threads": threads, **({"data": Path()} if data else {})}
    text = _less_memory(argparse.Namespace(**words))
    assert text.startswith(advice)
    assert ("bfloat16" in text) == (stage in ("train", "evaluate", "embed"))


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
