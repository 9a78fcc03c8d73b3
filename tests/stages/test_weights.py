"""The download of ImageNet weights, from a local folder instead of the internet."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from torchvision.models import get_model_weights

from salcr.errors import SalcrError
from salcr.models.resnet import ARCHITECTURES
from salcr.stages.weights import download


def published(folder: Path, content: bytes, digest: str) -> str:
    """Return the URL of a file with that content whose name carries `digest`."""
    path = folder / f"resnet18-{digest[:8]}.pth"
    path.write_bytes(content)
    return path.as_uri()


def test_a_download_is_checked_against_its_name(tmp_path: Path) -> None:
    """The right content is written, and its full SHA-256 returned."""
    content = b"weights" * 1000
    digest = hashlib.sha256(content).hexdigest()
    out = tmp_path / "out/resnet18.pth"
    assert download(published(tmp_path, content, digest), out) == digest
    assert out.read_bytes() == content


def test_a_damaged_download_is_not_kept(tmp_path: Path) -> None:
    """Content that does not match the name is refused and leaves no file."""
    url = published(tmp_path, b"damaged", "0123456789abcdef")
    with pytest.raises(SalcrError, match="came damaged"):
        download(url, tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()


def test_no_connection_says_what_to_do(tmp_path: Path) -> None:
    """A file that cannot be fetched points to model.weights."""
    url = (tmp_path / "absent-01234567.pth").as_uri()
    with pytest.raises(SalcrError, match=r"model\.weights"):
        download(url, tmp_path / "out.pth")


@pytest.mark.parametrize("backbone", ARCHITECTURES)
def test_every_backbone_has_published_weights(backbone: str) -> None:
    """ImageNet weights of each backbone are published under a name with a hash."""
    url = get_model_weights(backbone).IMAGENET1K_V1.url
    assert re.search(r"-[0-9a-f]{8}\.pth$", url)
