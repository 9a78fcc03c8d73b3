"""The command `serve` in this process, and requests to it."""

from __future__ import annotations

import http.client
import io
import json
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock
from urllib.parse import urlencode

import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from tests.support import tiny


class Answer(NamedTuple):
    """What the server answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Return the values of a body of JSON."""
        assert self.headers["content-type"] == "application/json", self
        return json.loads(self.body)

    def detail(self, status: int) -> str:
        """Return the reason of a refusal with this status."""
        assert self.status == status and self.json.keys() == {"detail"}, self
        return str(self.json["detail"])


class Served(NamedTuple):
    """A running server."""

    address: str
    """That the command printed, with the token if it has one."""
    port: int

    def ask(
        self,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        **words: object,
    ) -> Answer:
        """Return the answer to a request: POST with a body, GET without."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            method = "GET" if body is None else "POST"
            query = f"?{urlencode(words)}" if words else ""
            connection.request(method, path + query, body, headers or {})
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, names, answer.read())
        finally:
            connection.close()

    def search(self, picture: Path, **words: object) -> Any:
        """Return the result of a search for a picture that is sent."""
        answer = self.ask("/api/hits", picture.read_bytes(), name=picture.name, **words)
        assert answer.status == 200, answer
        return answer.json


@contextmanager
def serving(*words: object) -> Iterator[Served]:
    """Run `serve` at a free port; its server remains until the end, in a thread."""
    import uvicorn  # here, because the check of a GPU imports all tests without it

    run = uvicorn.Server.run
    running: list[tuple[uvicorn.Server, threading.Thread, int]] = []

    def start(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        (listening,) = sockets
        thread = threading.Thread(target=run, args=(server, [listening.dup()]))
        thread.start()
        running.append((server, thread, listening.getsockname()[1]))
        while not server.started and thread.is_alive():
            time.sleep(0.005)

    said: list[str] = []
    with (
        mock.patch.object(uvicorn.Server, "run", start),
        mock.patch("salcr.stages.serve.say", said.append),
    ):
        assert tiny.run("serve", "--port", 0, *words) == 0
    ((server, thread, port),) = running
    try:
        (address,) = re.findall(r"open (http://\S+) in a browser", said[0])
        yield Served(address, port)
    finally:
        server.should_exit = True
        thread.join()


def make_index(stage_one: Path, folder: Path, *words: object) -> list[object]:
    """Write the index of the tiny pictures; return the arguments that name it and its network.

    Args:
        stage_one: folder of the fixture of that name.
        folder: for the pictures (`raw`), the index (`index`), and the csv of people (`people.csv`).
        words: other arguments of embed.
    """
    shutil.copytree(stage_one / "raw", folder / "raw")
    network = ["--checkpoint", stage_one / "round00/checkpoint.pt"]
    images = ["--images", folder / "raw/Visible", folder / "raw/Thermal"]
    modality = ["--modality", "visible", "infrared"]
    assert tiny.run("embed", *images, *modality, "--out", folder / "index", *network, *words) == 0
    lines = pd.read_csv(folder / "index/files.csv")
    people = lines["file"].str.split("/").str[0]  # the folder of each person
    table = pd.DataFrame({"file": lines["file"], "identity": people})
    table.to_csv(folder / "people.csv", index=False)
    return ["--index", folder / "index", *network]


def calibrate(folder: Path) -> None:
    """Calibrate the index of `make_index` with its csv."""
    words = ["--index", folder / "index", "--identities", folder / "people.csv"]
    assert tiny.run("calibrate", *words) == 0


def encoded(picture: NDArray[Any], form: str, **options: Any) -> bytes:
    """Return a picture as a file of a format."""
    content = io.BytesIO()
    Image.fromarray(picture).save(content, form, **options)
    return content.getvalue()
