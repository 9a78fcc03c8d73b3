"""What tests of searching share: the server of `serve`, and a count of embedded pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from salcr.search.embedder import Embedder
from tests.support.served import Served, make_index, serving


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the index of tests that do not change it."""
    return tmp_path_factory.mktemp("serve")


@pytest.fixture(scope="module")
def words(stage_one: Path, folder: Path) -> list[object]:
    """Return the arguments that name the index and its network."""
    return make_index(stage_one, folder)


@pytest.fixture(scope="module")
def served(words: list[object]) -> Iterator[Served]:
    """Return the server of that index."""
    with serving(*words) as one:
        yield one


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which the number of pictures of each later computation is appended."""
    sizes: list[int] = []
    features = Embedder.features

    def counted(self: Embedder, images: np.ndarray, modalities: list[str]) -> np.ndarray:
        sizes.append(len(images))
        return features(self, images, modalities)

    monkeypatch.setattr(Embedder, "features", counted)
    return sizes
