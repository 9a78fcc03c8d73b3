"""A long stage's state between two epochs, in a file beside the result that it will become.

A job that was killed goes on from there and ends with the very bits of one that was not: every
epoch draws its random numbers anew. The state of other settings, code or data is not used.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from salcr import codehash
from salcr.config.schema import Config
from salcr.errors import SalcrError
from salcr.log import say, warn
from salcr.models import tensor_files


class Resume:
    """The file that keeps a stage's state.

    Args:
        result: file that the stage writes in the end; the state lies beside it until then.
        stage: name of the stage, whose code counts.
        settings: of the stage.
        origin: what else the result depends on: trial, hash of the data.
    """

    def __init__(
        self, result: Path, *, stage: str, settings: Config, origin: dict[str, Any]
    ) -> None:
        self.path = result.with_name("resume.pt")
        code = codehash.stage_hash(stage)
        parts = [settings.model_dump(), origin, code, str(torch.__version__)]
        self.key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """Return the last state saved for the same work, its tensors on the device, or None."""
        if not self.path.exists():
            return None
        try:
            saved = tensor_files.read_checkpoint(self.path, device)
        except SalcrError as error:
            warn(f"{error}; starting anew")
            return None
        if saved.get("key") != self.key:
            say(f"{self.path}: of other settings, code or data; starting anew")
            return None
        return saved

    def save(self, state: dict[str, Any]) -> None:
        """Replace the state by a newer one."""
        tensor_files.write_checkpoint(self.path, {"key": self.key, **state})

    def finish(self) -> None:
        """Delete the state: the result is there."""
        self.path.unlink(missing_ok=True)
