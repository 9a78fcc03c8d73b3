"""`serve`: the hits of `search`, for requests of its own page only, without a trace on the disk."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from salcr import files
from salcr.search import server
from salcr.search.embedder import Embedder
from tests.faults.test_formats import POSTSCRIPT
from tests.support import tiny
from tests.support.faults import the_error
from tests.support.served import Served, make_index, serving

Words = list[object]
Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the index that the tests of this module share."""
    return tmp_path_factory.mktemp("serve")


@pytest.fixture(scope="module")
def words(stage_one: Path, folder: Path) -> Words:
    """Return the arguments that name the index and its network."""
    return make_index(stage_one, folder)


@pytest.fixture(scope="module")
def served(words: Words) -> Iterator[Served]:
    """Return the server of that index."""
    with serving(*words) as one:
        yield one


def copied(words: Words, to: Path) -> Words:
    """Return arguments that name a copy of the index, which a test may change."""
    shutil.copytree(str(words[1]), to)
    return ["--index", to, *words[2:]]


def encoded(picture: NDArray[Any], form: str, **options: Any) -> bytes:
    """Return a picture as a file of a format."""
    content = io.BytesIO()
    Image.fromarray(picture).save(content, form, **options)
    return content.getvalue()


def embed(raw: Path, out: Path, words: Words, *extra: object) -> int:
    """Embed the tiny pictures of a folder as `make_index` does; those of the index are known."""
    images = ["--images", raw / "Visible", raw / "Thermal", "--modality", "visible", "infrared"]
    return tiny.run("embed", *images, "--out", out, *words[2:], *extra)


@pytest.mark.parametrize("among", ["other", "all"])
@pytest.mark.parametrize("modality", ["auto", "visible", "infrared"])
def test_hits_are_those_of_search(
    folder: Path, words: Words, served: Served, tmp_path: Path, modality: str, among: str
) -> None:
    """For pictures of both modalities, rows, scores, and paths are exactly the command's."""
    for query in ("Visible/2", "Thermal/3"):
        path = next((folder / "raw" / query).iterdir())
        options: Words = ["--modality", modality, "--among", among, "--top", 7]
        record = tmp_path / "hits.json"
        assert tiny.run("search", *words, "--query", path, *options, "--json", record) == 0
        expected = json.loads(record.read_text())
        del expected["checksum"]
        expected["queries"][0]["path"] = path.name
        assert served.search(path, modality=modality, among=among, top=7) == expected
        assert len(expected["queries"][0]["hits"]) == 7


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_hits_of_an_indexed_picture_are_the_largest_cosines(
    folder: Path, words: Words, tmp_path: Path, kind: str
) -> None:
    """They equal a matrix product of stored features, with an approximate index, too."""
    index = copied(words, tmp_path / "index")
    assert embed(folder / "raw", tmp_path / "index", words, "--kind", kind) == 0
    features = np.load(tmp_path / "index/features.npy")
    modality = pd.read_csv(tmp_path / "index/files.csv")["modality"].to_numpy()
    with serving(*index) as one:
        for row in (0, 70, len(features) - 1):
            for among in ("other", "all"):
                result = one.ask(f"/api/pictures/{row}/hits", among=among, top=5).json
                (query,) = result["queries"]
                cosines = features @ features[row]
                if among == "other":
                    cosines[modality == modality[row]] = -2
                best = np.sort(cosines)[::-1][:5]
                assert np.allclose([hit["score"] for hit in query["hits"]], best, atol=1e-5)
                chosen = cosines[[hit["row"] for hit in query["hits"]]]
                assert np.allclose(chosen, best, atol=1e-5)
                assert (query["modality"], query["guessed"]) == (modality[row], False)


def test_pictures_of_the_index_are_listed_by_name_and_modality(
    folder: Path, served: Served
) -> None:
    """Page by page, they are the lines of files.csv that hold the text, which is not a pattern."""
    lines = pd.read_csv(folder / "index/files.csv")
    sizes = []
    for text, modality in (("", "auto"), ("1/V", "visible"), ("", "infrared"), ("1.*", "auto")):
        chosen = np.array([text.lower() in name.lower() for name in lines["file"]])
        if modality != "auto":
            chosen &= lines["modality"] == modality
        rows: list[int] = []
        for start in range(0, len(lines) + 1, server.LISTED):
            page = {"text": text, "modality": modality, "start": start}
            found = served.ask("/api/pictures", **page).json
            assert found["total"] == chosen.sum() and found["step"] == server.LISTED
            rows += [one["row"] for one in found["pictures"]]
        assert rows == np.flatnonzero(chosen).tolist()
        sizes.append(len(rows))
    assert sizes[0] == len(lines) > sizes[2] > sizes[1] > sizes[3] == 0


def test_a_picture_of_the_index_is_shown_small(folder: Path, served: Served) -> None:
    """It is a JPEG that resembles the picture of its row more than any other; paths are unknown."""
    lines = pd.read_csv(folder / "index/files.csv")
    place = {"visible": folder / "raw/Visible", "infrared": folder / "raw/Thermal"}
    paths = [place[line.modality] / line.file for line in lines.itertuples()]
    stored = np.stack([np.asarray(Image.open(path).convert("RGB"), dtype=float) for path in paths])
    for row in (3, len(lines) - 2):
        answer = served.ask(f"/api/pictures/{row}")
        assert answer.headers["content-type"] == "image/jpeg"
        shown = np.asarray(Image.open(io.BytesIO(answer.body)).convert("RGB"), dtype=float)
        assert np.abs(stored - shown).mean(axis=(1, 2, 3)).argmin() == row
    for row in (-1, len(lines)):
        for path in (f"/api/pictures/{row}", f"/api/pictures/{row}/hits"):
            assert f"the index has {len(lines)} pictures" in served.ask(path).detail(404)
    assert served.ask("/api/pictures/..%2f..%2fpeople.csv").status in (404, 422)
    assert served.ask("/static/..%2fserver.py").status == 404


def test_a_large_picture_is_made_small(stage_one: Path, tmp_path: Path) -> None:
    """A picture of a large camera is sent with at most 240 pixels."""
    (tmp_path / "pictures").mkdir()
    for name, level in (("a.png", (200, 30, 30)), ("b.png", (90, 90, 90))):
        picture = np.full((600, 1200, 3), level, np.uint8)
        (tmp_path / "pictures" / name).write_bytes(encoded(picture, "PNG"))
    network = ["--checkpoint", stage_one / "round00/checkpoint.pt"]
    index = tmp_path / "index"
    assert tiny.run("embed", "--images", tmp_path / "pictures", "--out", index, *network) == 0
    with serving("--index", index, *network) as one:
        shown = Image.open(io.BytesIO(one.ask("/api/pictures/0").body))
    assert shown.size == (240, 120)


def test_pictures_that_vanish_or_change_are_not_shown(
    folder: Path, words: Words, tmp_path: Path
) -> None:
    """A missing file, another picture, a pipe, a link: a reason as JSON, and hits as before."""
    for person in ("Visible/1", "Thermal/1"):
        shutil.copytree(folder / "raw" / person, tmp_path / "raw" / person)
    assert embed(tmp_path / "raw", tmp_path / "index", words) == 0
    lines = pd.read_csv(tmp_path / "index/files.csv")
    gone, changed, pipe, link, other = (
        tmp_path / "raw/Visible" / name for name in lines["file"][:5]
    )
    with serving("--index", tmp_path / "index", *words[2:]) as one:
        before = one.ask("/api/pictures/0/hits").json
        for path in (gone, pipe, link):
            path.unlink()
        shutil.copy(other, changed)
        os.mkfifo(pipe)
        link.symlink_to(folder / "people.csv")
        assert one.ask("/api/pictures/0").detail(410) == f"{gone}: is not there any more"
        for row in (1, 2, 3):
            assert "has changed since" in one.ask(f"/api/pictures/{row}").detail(410)
        assert one.ask("/api/pictures/4").status == 200
        assert one.ask("/api/pictures/0/hits").json == before


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


def test_pictures_of_every_format_are_searched_for(folder: Path, served: Served) -> None:
    """The formats of the readers, with a name or without; lossless ones have the same hits."""
    path = next((folder / "raw/Visible/4").iterdir())
    picture = np.asarray(Image.open(path).convert("RGB"))
    expected = served.search(path)["queries"][0]["hits"]
    for form, name in (("PNG", "a.PNG"), ("TIFF", "a.tif"), ("BMP", "noname"), ("PPM", "../x.ppm")):
        (query,) = served.ask("/api/hits", encoded(picture, form), name=name).json["queries"]
        assert (query["path"], query["hits"]) == (name, expected)
    answer = served.ask("/api/hits", encoded(picture, "WEBP"), name="a.webp", modality="visible")
    assert answer.status == 200


def test_what_is_too_large_is_refused(
    folder: Path, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture of the limit is searched for; one with a byte more is refused."""
    path = next((folder / "raw/Visible/4").iterdir())
    size = len(path.read_bytes())
    monkeypatch.setattr(server, "MAX_BYTES", size)
    assert served.search(path)["queries"]
    monkeypatch.setattr(server, "MAX_BYTES", size - 1)
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


def test_thresholds_are_those_of_the_calibration(words: Words, tmp_path: Path) -> None:
    """Without one, after calibrate, for another index, and damaged: thresholds, or what to do."""
    copy = copied(words, tmp_path / "index")
    path = tmp_path / "index/calibration.json"
    people = Path(str(words[1])).with_name("people.csv")
    with serving(*copy) as one:

        def described() -> Any:
            return one.ask("/api/index").json

        index = described()
        assert (index["thresholds"], index["people_from"]) == ([], None)
        assert f"salcr calibrate --index {tmp_path / 'index'}" in index["note"]
        counts = pd.read_csv(tmp_path / "index/files.csv")["modality"].value_counts().to_dict()
        assert index["num_pictures"] == counts
        assert tiny.run("calibrate", *copy[:2], "--identities", people) == 0
        index, stored = described(), json.loads(path.read_text())
        expected = {
            (entry["false_match_rate"], kind): entry["threshold"]
            for kind, pairs in stored["pairs"].items()
            for entry in pairs["thresholds"]
            if entry["threshold"] is not None
        }
        listed = {
            (line["rate"], kind): line[kind]
            for line in index["thresholds"]
            for kind in line.keys() - {"rate"}
        }
        assert listed == expected and expected and index["note"] == ""
        assert index["people_from"] == "identities"
        of_another = {**stored, "index": "another"}
        del of_another["checksum"]
        for text in (path.read_text().replace("0.", "1.", 1), of_another):
            if isinstance(text, str):
                path.write_text(text)
            else:
                files.write_json(path, text)
            assert "run calibrate again" in described()["note"] and not described()["thresholds"]


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


def test_one_picture_at_a_time_passes_the_network(
    folder: Path, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten searches at once do not meet in it, and each has its own hits."""
    paths = sorted((folder / "raw/Visible").rglob("*.bmp"))[:10]
    expected = [served.search(path) for path in paths]
    inside, most, features = [0], [0], Embedder.features
    lock = threading.Lock()

    def counted(embedder: Embedder, *arguments: Any) -> Any:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        time.sleep(0.01)
        result = features(embedder, *arguments)
        with lock:
            inside[0] -= 1
        return result

    monkeypatch.setattr(Embedder, "features", counted)
    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(served.search, paths)) == expected
    assert most == [1]


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
