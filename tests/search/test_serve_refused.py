"""`serve` answers its own page only, refuses what is not a picture, and writes nothing."""

from __future__ import annotations

import importlib.util
import re
import socket
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from salcr.search.embedder import Embedder
from tests.faults.test_formats import POSTSCRIPT
from tests.support import tiny
from tests.support.faults import the_error
from tests.support.served import Served, encoded, serving

Words = list[object]
Output = pytest.CaptureFixture[str]


PICTURE = np.random.default_rng(3).integers(256, size=(64, 32, 3), dtype=np.uint8)
ODD = {
    "postscript.jpg": (POSTSCRIPT, "cannot be decoded: damaged, or not one of BMP, GIF, JPEG"),
    "cut.jpg": (encoded(PICTURE, "JPEG")[:700], "cannot be decoded (image file is truncated"),
    "deep.png": (
        encoded(PICTURE[..., 0].astype(np.uint16) * 200, "PNG"), "has more than 8 bits per channel",
    ),
    "png.jpg": (encoded(PICTURE, "PNG"), "its content is PNG, which its name denies"),
    "empty.png": (b"", "cannot be decoded"),
    "bomb.ppm": (b"P6 9500 9500 255 ", "decompression bomb"),
    "page.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "cannot be decoded"),
    "two\nlines\u202e.png": (b"?", r"two\nlines\u202e.png: cannot be decoded"),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_pictures_are_refused_by_name(served: Served, name: str) -> None:
    """Each with the reason of the readers elsewhere, as JSON."""
    content, reason = ODD[name]
    detail = served.ask("/api/hits", content, name=name).detail(422)
    assert reason in detail and (detail.startswith(name) or "\n" in name)


def test_what_is_too_large_is_refused(
    folder: Path, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture of the limit is searched for; one with a byte more is refused."""
    path = next((folder / "raw/Visible/4").iterdir())
    size = len(path.read_bytes())
    monkeypatch.setattr("salcr.search.server.MAX_BYTES", size)
    assert served.search(path)["queries"]
    monkeypatch.setattr("salcr.search.server.MAX_BYTES", size - 1)
    assert "has more than" in served.ask("/api/hits", path.read_bytes()).detail(413)


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ("/api/pictures/0/hits", {"top": 0}),
        ("/api/pictures/0/hits", {"top": 10**9}),
        ("/api/pictures/0/hits", {"among": "none"}),
        ("/api/pictures", {"start": -1}),
        ("/api/pictures", {"modality": "radar"}),
        ("/api/pictures/x", {}),
    ],
)
def test_wrong_words_are_named(served: Served, path: str, wrong: dict[str, object]) -> None:
    """The reason begins with the word that is wrong."""
    (name,) = wrong or {"row"}
    assert served.ask(path, **wrong).detail(422).startswith(f"{name}: ")


def test_unknown_addresses_and_methods_are_answered_as_json(served: Served) -> None:
    """Pages of FastAPI, which load from elsewhere, are not there either."""
    for path in ("/nothing", "/docs", "/redoc", "/openapi.json", "/api/hits"):
        assert served.ask(path).detail(405 if path == "/api/hits" else 404)


def test_an_index_of_one_modality_says_what_to_do(stage_one: Path, tmp_path: Path) -> None:
    """Without pictures of the other modality the answer names the way out."""
    network = ["--checkpoint", stage_one / "round00/checkpoint.pt"]
    images = ["--images", stage_one / "raw/Visible/1", "--modality", "visible"]
    assert tiny.run("embed", *images, "--out", tmp_path / "index", *network) == 0
    with serving("--index", tmp_path / "index", *network) as one:
        assert "has no infrared images" in one.ask("/api/pictures/0/hits").detail(422)
        assert one.ask("/api/pictures/0/hits", among="all").status == 200


def test_pages_of_other_sites_are_refused(folder: Path, served: Served) -> None:
    """Another name of this machine, as DNS rebinding gives, and requests that browsers mark."""
    own = f"127.0.0.1:{served.port}"
    for host in (own, f"localhost:{served.port}", "[::1]:8000", "LOCALHOST"):
        assert served.ask("/api/index", headers={"Host": host}).status == 200
    for host in ("evil.example", "127.0.0.1.evil.example:80", "", "[::1", "10.0.0.1"):
        assert "localhost" in served.ask("/api/index", headers={"Host": host}).detail(403)
    content = next((folder / "raw/Visible/4").iterdir()).read_bytes()
    for origin in (
        "http://evil.example",
        "null",
        f"http://127.0.0.1:{served.port + 1}",
        "http://[",
    ):
        for path, body in (("/api/hits", content), ("/api/pictures/0", None)):
            answer = served.ask(path, body, {"Origin": origin})
            assert "other sites" in answer.detail(403)
    assert served.ask("/api/hits", content, {"Origin": f"http://{own}"}).status == 200
    for word, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200)):
        assert served.ask("/api/pictures/0", headers={"Sec-Fetch-Site": word}).status == status
        assert served.ask("/", headers={"Sec-Fetch-Site": word}).status == 200  # a link
    answer = served.ask("/")
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("place", [["--token"], ["--host", "0.0.0.0"]])
def test_a_token_is_demanded(words: Words, place: Words, capsys: Output) -> None:
    """Nothing is answered without it: once in the address, then as a cookie or a header."""
    with serving(*words, *place) as one:
        token = one.address.partition("?token=")[2]
        assert len(token) >= 32
        assert ("without encryption" in capsys.readouterr().err) == ("--host" in place)
        for path in ("/", "/static/serve.js", "/api/index", "/api/pictures/0", "/nothing"):
            for headers in (
                {}, {"Authorization": f"Bearer {token}x"}, {"Authorization": token},
                {"Authorization": "Bearer \xfc"}, {"Cookie": "salcr=; ="},
            ):  # fmt: skip
                assert "salcr serve" in one.ask(path, headers=headers).detail(401)
            assert one.ask(path, token=token[:-1]).status == 401
        assert one.ask("/api/index", token=token).status == 401  # only once, on the first page
        assert one.ask("/api/hits", b"x").status == 401
        first = one.ask("/", token=token)
        assert (first.status, first.headers["location"]) == (303, "/")
        cookie, *marks = first.headers["set-cookie"].split("; ")
        assert {"HttpOnly", "SameSite=lax"} <= set(marks)
        for headers in ({"Cookie": cookie}, {"Authorization": f"Bearer {token}"}):
            assert one.ask("/", headers=headers).status == 200
            assert one.ask("/api/index", headers=headers).status == 200
        assert token.encode() not in one.ask("/", headers={"Cookie": cookie}).body
    with serving(*words, *place) as one:
        assert one.ask("/", headers={"Cookie": cookie}).status == 401
        assert one.address.partition("?token=")[2] != token


def test_the_page_loads_nothing_from_elsewhere(served: Served) -> None:
    """HTML, style, and script are three files of ours without an address of another server."""
    page = served.ask("/").body.decode()
    files = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert files == ["data:,", "/static/serve.css", "/static/serve.js"]
    assert not re.search(r"<style|\son\w+=|<script>", page)
    for text in (page, *(served.ask(name).body.decode() for name in files[1:])):
        assert not re.search(r"https?:|@import|url\(|innerHTML|eval\(", text)
    assert "Use it where they have consented or where the law permits it" in " ".join(page.split())


def test_an_error_of_the_program_is_answered_without_its_details(
    folder: Path, served: Served
) -> None:
    """Its kind, or that memory is full, as JSON; the next request works."""
    path = next((folder / "raw/Visible/4").iterdir())
    for error, reason in (
        (ZeroDivisionError("secret"), "ZeroDivisionError; see the terminal"),
        (RuntimeError("CUDA out of memory"), "out of memory"),
    ):
        with mock.patch.object(Embedder, "features", side_effect=error):
            detail = served.ask("/api/hits", path.read_bytes()).detail(500)
        assert reason in detail and "secret" not in detail
    assert served.search(path)["queries"]


def test_a_picture_that_is_not_sent_to_its_end_leaves_no_traceback(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """As when a tab is closed; rubbish in place of a request is refused, too."""
    head = b"POST /api/hits HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nabc"
    for request, answer in ((head, b""), (b"rubbish\r\n\r\n", b"HTTP/1.1 400 ")):
        with socket.create_connection(("127.0.0.1", served.port)) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(100).startswith(answer)
    assert served.ask("/").status == 200
    assert not [line for line in caplog.records if line.exc_info]


def test_nothing_is_written(
    words: Words,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither beside the index, in the working folder, or among temporary files, nor a log."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def state() -> dict[Path, int]:
        paths = [*folder.rglob("*"), *tmp_path.rglob("*")]
        return {path: path.stat().st_mtime_ns for path in paths}

    before = state()
    path = next((folder / "raw/Visible/4").iterdir())
    with serving(*words) as one:
        capsys.readouterr()
        large = encoded(np.zeros((1200, 1200, 3), np.uint8), "BMP")  # others spool such a body
        assert one.ask("/api/hits", large, name="private name.bmp").status == 200
        one.search(path), one.ask("/api/hits", b"?"), one.ask("/api/pictures/0/hits")
    assert state() == before
    written = capsys.readouterr()
    assert written.out == written.err == "" and not caplog.records


def test_what_cannot_be_served_is_said(
    words: Words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """A port in use, an address of another machine, another network, a missing package."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert tiny.run("serve", *words, "--port", port) == 1
    assert f"--port {port}: cannot be served at" in the_error(capsys.readouterr().err)
    for host in ("192.0.2.1", "no such name", "x" * 300):
        assert tiny.run("serve", *words, "--host", host) == 1
        assert f"--host {host}" in the_error(capsys.readouterr().err)
    other = tmp_path / "other.pt"
    other.write_bytes(Path(str(words[3])).read_bytes() + b" ")
    assert tiny.run("serve", *words[:2], "--checkpoint", other) == 1
    assert "was made with another model" in the_error(capsys.readouterr().err)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert tiny.run("serve", *words) == 1
    assert "pip install '.[serve]'" in the_error(capsys.readouterr().err)
