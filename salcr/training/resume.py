"""The state of a long stage after each epoch, in a file beside its result.

A job that was killed resumes from it and ends with the same bits as one that was not, because each
epoch has its own random generator. A state with other settings, code or data is not used.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from salcr import codehash
from salcr.config.checkpoint_kinds import Unfinished
from salcr.config.schema import Config
from salcr.errors import SalcrError
from salcr.log import say, warn
from salcr.models import tensor_files


def resume_key(stage: str, settings: Config, origin: dict[str, Any]) -> str:
    """Return a hash of what a stage's result follows from; what a stopped job left fits only it.

    Args:
        stage: name of the stage, whose code counts.
        settings: of the stage.
        origin: other inputs of the result, such as trial and hash of the data.
    """
    parts = [settings.model_dump(), origin, codehash.stage_hash(stage), str(torch.__version__)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class Resume:
    """The file with the state of a stage.

    Args:
        result: file that the stage writes at its end; until then, the state is beside it.
        stage: name of the stage; a state of other code is not used.
        settings: of the stage.
        origin: other inputs of the result: trial and hash of the data.
    """

    def __init__(
        self, result: Path, *, stage: str, settings: Config, origin: dict[str, Any]
    ) -> None:
        self.path = result.parent / "resume.pt"
        self.key = resume_key(stage, settings, origin)

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """Return the last state with the same settings, code and data, or None.

        Args:
            device: device of its tensors.
        """
        if not self.path.exists():
            return None
        try:
            saved = tensor_files.read_checkpoint(self.path, Unfinished, device)
        except SalcrError as error:
            warn(f"{error}; starting from the beginning")
            return None
        if saved.get("key") != self.key:
            say(f"{self.path}: of other settings, code or data; starting from the beginning")
            return None
        return saved

    def save(self, state: dict[str, Any]) -> None:
        """Replace the saved state."""
        tensor_files.write_checkpoint(self.path, {"key": self.key, **state})

    def finish(self) -> None:
        """Delete the state, once the result is written."""
        self.path.unlink(missing_ok=True)
