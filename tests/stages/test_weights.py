"""The download of ImageNet weights, from a local folder or server instead of the Internet."""

from __future__ import annotations

import hashlib
import re
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from torchvision.models import get_model_weights

from salcr.errors import SalcrError
from salcr.models.resnet import ARCHITECTURES
from salcr.stages import weights
from salcr.stages.weights import download
from tests.support import faults


def published(folder: Path, content: bytes, digest: str) -> str:
    """Return the URL of a file with that content whose name contains `digest`."""
    path = folder / f"resnet18-{digest[:8]}.pth"
    path.write_bytes(content)
    return path.as_uri()


def test_a_download_is_checked_against_its_name(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Correct content is written and its SHA-256 returned; a log gets no progress bar."""
    content = b"weights" * 1000
    digest = hashlib.sha256(content).hexdigest()
    out = tmp_path / "out/resnet18.pth"
    assert download(published(tmp_path, content, digest), out) == digest
    assert out.read_bytes() == content and [*out.parent.iterdir()] == [out]
    assert capfd.readouterr().err == ""


def test_a_link_to_another_disk_is_kept(tmp_path: Path) -> None:
    """The download takes the place of what the link points at."""
    content = b"weights"
    out, disk = tmp_path / "out/resnet18.pth", tmp_path / "disk/weights.pth"
    for path in (out, disk):
        path.parent.mkdir()
    disk.write_text("old")
    out.symlink_to(disk)
    download(published(tmp_path, content, hashlib.sha256(content).hexdigest()), out)
    assert out.is_symlink() and not disk.is_symlink() and disk.read_bytes() == content


def test_a_damaged_download_is_not_kept(tmp_path: Path) -> None:
    """Content that does not match the name is rejected; only the old file remains."""
    url = published(tmp_path, b"damaged", "0123456789abcdef")
    out = tmp_path / "out/resnet18.pth"
    out.parent.mkdir()
    out.write_text("old")
    with pytest.raises(SalcrError, match=r"download is damaged.*01234567"):
        download(url, out)
    assert [(path.name, path.read_text()) for path in out.parent.iterdir()] == [(out.name, "old")]


def test_no_connection_says_what_to_do(tmp_path: Path) -> None:
    """The message for a file that cannot be fetched points to model.weights."""
    url = (tmp_path / "absent-01234567.pth").as_uri()
    with pytest.raises(SalcrError, match=r"model\.weights"):
        download(url, tmp_path / "out.pth")
    assert [*tmp_path.iterdir()] == []


def test_a_silent_server_is_not_waited_for_forever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that accepts a connection and never answers counts as no connection."""
    monkeypatch.setattr(weights, "_TIMEOUT", 0.2)
    monkeypatch.setenv("no_proxy", "*")
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/resnet18-01234567.pth"
        with pytest.raises(SalcrError, match=r"timed out.*model\.weights"):
            download(url, tmp_path / "out.pth")
    assert [*tmp_path.iterdir()] == [] and socket.getdefaulttimeout() is None


def test_a_full_disk_is_not_called_a_bad_connection(tmp_path: Path) -> None:
    """A file that cannot be written is named as in every other stage."""
    content = bytes(1 << 20)
    url = published(tmp_path, content, hashlib.sha256(content).hexdigest())
    out = tmp_path / "out/resnet18.pth"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, before[1]))
    try:
        with pytest.raises(SalcrError, match=re.escape(f"{out}: cannot be written (File too l")):
            download(url, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [*out.parent.iterdir()] == []


DOWNLOAD = """
import signal, sys
from pathlib import Path
from salcr import __main__
from salcr.stages.weights import download
signal.signal(signal.SIGTERM, __main__._stopped)
download(sys.argv[1], Path(sys.argv[2]))
"""


def test_sigterm_during_a_download_leaves_nothing(tmp_path: Path) -> None:
    """After half of the file, neither our temporary file nor torch.hub's remains."""
    out = tmp_path / "out/resnet18.pth"
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)  # a job that fails before it connects must not hang the test
        url = f"http://127.0.0.1:{server.getsockname()[1]}/resnet18-01234567.pth"
        command = [sys.executable, "-c", DOWNLOAD, url, str(out)]
        with subprocess.Popen(command, env={**faults.ENVIRONMENT, "no_proxy": "*"}) as job:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 1000000\r\n\r\nhalf")
                assert [path for path in out.parent.rglob("*") if path.is_file()]
                job.send_signal(signal.SIGTERM)
                assert job.wait() == 143
    assert [*out.parent.iterdir()] == []


@pytest.mark.parametrize("backbone", ARCHITECTURES)
def test_every_backbone_has_published_weights(backbone: str) -> None:
    """ImageNet weights of each backbone are published under a name with a hash."""
    url = get_model_weights(backbone).IMAGENET1K_V1.url
    assert re.search(r"-[0-9a-f]{8}\.pth$", url)
