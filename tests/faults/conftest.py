"""A finished tiny run that the tests of faults copy and damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import faults


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which every stage ran undisturbed."""
    return faults.finished(tmp_path_factory.mktemp("whole"))
