"""The pages of `serve`: a search of an index in a browser.

Pictures are sent as the bodies of requests and stay in memory. Those of the index are known by
their rows alone, are made small, and are shown only if they are still what was embedded.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError

from salcr.data.images import decode_image, open_image
from salcr.data.pictures import SUFFIXES
from salcr.errors import SalcrError, is_out_of_memory
from salcr.log import escape_name, escape_text
from salcr.search import calibration
from salcr.search.guard import Guard
from salcr.search.images import content_digest
from salcr.search.index import read_digests
from salcr.search.queries import Searcher, record

MAX_BYTES = 32 << 20
"""Of a picture that is sent."""
MAX_TOP = 200
"""Hits of a query."""
LISTED = 24
"""Pictures of the index on one page of their list."""
_HEIGHT = 240  # pixels of a picture, of which the page shows 160 on a usual screen
_STATIC = {
    "serve.html": "text/html; charset=utf-8",
    "serve.css": "text/css; charset=utf-8",
    "serve.js": "text/javascript; charset=utf-8",
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' blob: data:; script-src 'self'; "
    "style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",  # browsers write what they keep to the disk
}

Among = Literal["other", "all"]
Modality = Literal["auto", "visible", "infrared"]
Top = Annotated[int, Query(ge=1, le=MAX_TOP)]
Result = TypeVar("Result")


def make_app(searcher: Searcher, guard: Guard) -> FastAPI:
    """Return the application.

    Raises:
        SalcrError: a file of the index is damaged.
    """
    index = searcher.index
    digests = read_digests(index.folder, index.summary)
    static = Path(__file__).with_name("static")
    content = {name: (static / name).read_bytes() for name in _STATIC}
    app = FastAPI(title="SALCR search", docs_url=None, redoc_url=None, openapi_url=None)
    _answer_errors(app)
    # One thread decodes pictures, uses the network, and searches: memory is bounded, and Pillow's
    # limit of pixels is switched for a whole process.
    worker = ThreadPoolExecutor(max_workers=1)

    async def in_turn(function: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(worker, function, *arguments)

    @app.middleware("http")
    async def guarded(
        request: Request, handle: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        try:
            guard.check(request)
        except HTTPException as error:
            response = _refusal(error.status_code, error.detail)
        else:
            if guard.token is not None and request.url.path == "/" and request.query_params:
                response = Response(status_code=303, headers={"Location": "/"})
                response.set_cookie(guard.cookie, guard.token, httponly=True, samesite="lax")
            else:
                response = await handle(request)
        response.headers.update(_HEADERS)
        return response

    @app.get("/")
    async def page() -> Response:
        return Response(content["serve.html"], media_type=_STATIC["serve.html"])

    @app.get("/static/{name}")
    async def file_of_page(name: str) -> Response:
        if name not in content:
            raise HTTPException(404, "no such file")
        return Response(content[name], media_type=_STATIC[name])

    @app.get("/api/index")
    async def description() -> Response:
        return _json(_describe(searcher))

    @app.get("/api/pictures")
    async def pictures(
        text: str = "", modality: Modality = "auto", start: Annotated[int, Query(ge=0)] = 0
    ) -> Response:
        return _json(await in_turn(_list_pictures, searcher, text, modality, start))

    @app.get("/api/pictures/{row}")
    async def picture(row: int) -> Response:
        _check_row(searcher, row)
        digest = digests[row].tobytes().hex()
        return Response(
            await in_turn(_small_picture, searcher, row, digest), media_type="image/jpeg"
        )

    @app.get("/api/pictures/{row}/hits")
    async def hits_of_row(row: int, among: Among = "other", top: Top = 20) -> Response:
        _check_row(searcher, row)

        def search() -> dict[str, Any]:
            return record(searcher, [searcher.search_row(row, among=among, top=top)], {})

        return _json(await in_turn(search))

    @app.post("/api/hits")
    async def hits_of_picture(
        request: Request,
        name: Annotated[str, Query(max_length=255)] = "picture",
        modality: Modality = "auto",
        among: Among = "other",
        top: Top = 20,
    ) -> Response:
        sent, path = await _read_body(request), Path(name)

        def search() -> dict[str, Any]:
            height, width = searcher.embedder.image_size
            image = decode_image(path, height=height, width=width, content=sent)
            return record(
                searcher, searcher.search([path], [image], modality, among=among, top=top), {}
            )

        return _json(await in_turn(search))

    return app


def _answer_errors(app: FastAPI) -> None:
    """Let every error be answered with a reason as JSON."""

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return _refusal(422, f"{first['loc'][-1]}: {first['msg']}")

    @app.exception_handler(SalcrError)
    async def wrong(_: Request, error: SalcrError) -> Response:
        return _refusal(422, str(error))

    @app.exception_handler(Exception)  # uvicorn prints its traceback
    async def unexpected(_: Request, error: Exception) -> Response:
        if is_out_of_memory(error):
            return _refusal(500, "out of memory; use --device cpu, or a machine with more")
        return _refusal(500, f"{type(error).__name__}; see the terminal in which serve runs")


def make_server(app: FastAPI) -> uvicorn.Server:
    """Return the server of an application; nothing of what is asked is written to a log."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=3,
        )
    )


def _describe(searcher: Searcher) -> dict[str, Any]:
    """Return what the page shows of the index, and the thresholds of its calibration."""
    index = searcher.index
    people, note = None, ""
    thresholds: dict[float, dict[str, float]] = {}
    try:
        found = calibration.read_calibration(index.folder, index.summary)
    except SalcrError as error:
        note = str(error)
    else:
        if found is None:
            note = f"There is no calibration yet: run salcr calibrate --index {index.folder}"
        else:
            thresholds, people = calibration.thresholds_of(found), found["people_from"]
    return {
        "index": str(index.folder),
        "folders": index.summary["folders"],
        "checkpoint": searcher.embedder.origin,
        "num_pictures": index.summary["num_pictures"],
        "thresholds": [{"rate": rate, **kinds} for rate, kinds in sorted(thresholds.items())],
        "people_from": people,
        "note": escape_text(note),
        "max_bytes": MAX_BYTES,
        "max_top": MAX_TOP,
        "suffixes": [suffix for suffixes in SUFFIXES.values() for suffix in suffixes],
    }


def _list_pictures(searcher: Searcher, text: str, modality: str, start: int) -> dict[str, Any]:
    """Return some pictures of the index whose names hold a text, and how many there are."""
    images = searcher.index.images
    if modality != "auto":
        images = images[images["modality"] == modality]
    if text:
        images = images[images["file"].str.contains(text, case=False, regex=False)]
    shown = images.iloc[start : start + LISTED]
    listed = [
        {"row": int(row), "modality": modality, "path": str(searcher.index.path(row))}
        for row, modality in zip(shown.index, shown["modality"], strict=True)
    ]
    return {"total": len(images), "start": start, "step": LISTED, "pictures": listed}


def _small_picture(searcher: Searcher, row: int, digest: str) -> bytes:
    """Return a picture of the index as a small JPEG.

    Raises:
        HTTPException: its file is not there, or is not what was embedded.
    """
    index = searcher.index
    line = index.images.iloc[row]
    name = escape_name(str(index.path(row)))
    if not index.path(row).exists():
        raise HTTPException(410, f"{name}: is not there any more")
    folder = Path(index.summary["folders"][line["folder"]])
    if content_digest(folder, line["file"]) != digest:
        raise HTTPException(410, f"{name}: has changed since it was embedded; run embed again")
    image = open_image(index.path(row))
    image.thumbnail((_HEIGHT, _HEIGHT))
    small = io.BytesIO()
    image.save(small, "JPEG", quality=85)
    return small.getvalue()


def _check_row(searcher: Searcher, row: int) -> None:
    if not 0 <= row < len(searcher.index.images):
        raise HTTPException(404, f"row {row}: the index has {len(searcher.index.images)} pictures")


async def _read_body(request: Request) -> bytes:
    """Return the body of a request.

    Raises:
        HTTPException: it is too large, or its sender has given up.
    """
    content = bytearray()
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise HTTPException(400, "the picture was not sent to its end")
        content += message.get("body", b"")
        if len(content) > MAX_BYTES:
            raise HTTPException(413, f"the picture has more than {MAX_BYTES >> 20} MB")
        if not message.get("more_body", False):
            return bytes(content)


def _json(content: dict[str, Any], status: int = 200) -> Response:
    """Return values as JSON, in ASCII, since a path may hold bytes that are not UTF-8."""
    return Response(json.dumps(content), status_code=status, media_type="application/json")


def _refusal(status: int, reason: str) -> Response:
    return _json({"detail": escape_text(reason)}, status)
