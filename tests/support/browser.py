"""A headless Chromium that tests drive by its debugging protocol, through two pipes."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
_PATIENCE = 20.0  # seconds


class Browser:
    """One page of a browser."""

    def __init__(self, write: int, read: int) -> None:
        self._out, self._in = os.fdopen(write, "wb"), os.fdopen(read, "rb")
        self._number, self._rest, self._session = 0, b"", ""
        self.errors: list[str] = []
        """What the page wrote to the console as an error, such as a refused file."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the protocol and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        self._out.flush()
        while True:
            answer = json.loads(self._next())
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return dict(answer["result"])
            if answer.get("method") == "Log.entryAdded":
                entry = answer["params"]["entry"]
                if entry["level"] == "error":
                    self.errors.append(f"{entry['text']} {entry.get('url', '')}")
            if answer.get("method") == "Runtime.exceptionThrown":
                self.errors.append(str(answer["params"]["exceptionDetails"]))

    def _next(self) -> bytes:
        while b"\0" not in self._rest:
            part = self._in.read1(1 << 20)  # type: ignore[attr-defined]
            assert part, "the browser has ended"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return message

    def value(self, script: str) -> Any:
        """Return the value of an expression of JavaScript on the page, which may be a promise."""
        result = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, (script, result["exceptionDetails"])
        return result["result"].get("value")

    def wait(self, script: str) -> Any:
        """Return the value of an expression as soon as it is true."""
        end = time.monotonic() + _PATIENCE
        while not (value := self.value(script)):
            assert time.monotonic() < end, f"{script} is {value} after {_PATIENCE:.0f} s"
            time.sleep(0.05)
        return value

    def open(self, address: str) -> None:
        """Load a page."""
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def _middle(self, selector: str) -> dict[str, float]:
        """Return the middle of an element, which is scrolled into view."""
        place: dict[str, float] = self.value(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)});"
            " one.scrollIntoView({block: 'center'}); const box = one.getBoundingClientRect();"
            " return {x: box.x + box.width / 2, y: box.y + box.height / 2}; })()"
        )
        return place

    def click(self, selector: str) -> None:
        """Click on the middle of an element, whatever lies there."""
        place = self._middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def drop(self, selector: str, *files: Path) -> None:
        """Drop files on an element."""
        data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
        place = self._middle(selector)
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, data=data, **place)

    def choose(self, selector: str, file: Path) -> None:
        """Give a file to an element that asks for one."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def set(self, selector: str, value: str) -> None:
        """Give a value to a field or a list, as a person would."""
        self.value(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)});"
            f" one.value = {json.dumps(value)};"
            " for (const kind of ['input', 'change'])"
            " one.dispatchEvent(new Event(kind, {bubbles: true})); })()"
        )

    def downloaded(self, file: Path) -> str:
        """Return the text of a file that the browser writes, and delete it."""
        end = time.monotonic() + _PATIENCE
        while not file.exists():
            assert time.monotonic() < end, f"{file} was not downloaded"
            time.sleep(0.05)
        text = file.read_text(encoding="utf-8")
        file.unlink()
        return text

    def resize(self, width: int, height: int, *, dark: bool = False) -> None:
        """Set the size of the page in pixels, and whether the reader prefers dark pages."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def photograph(self, path: Path) -> None:
        """Write a png of the page as far as it is in the window."""
        picture = self.call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(picture))


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """Start a Chromium and end it.

    Args:
        folder: for its profile, and for what it downloads.
    """
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()

    words = ["chromium", *FLAGS, "--remote-debugging-pipe", f"--user-data-dir={folder / 'profile'}"]
    # The browser reads from descriptor 3 and writes to 4.
    script = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out} >/dev/null 2>&1'
    process = subprocess.Popen(
        ["bash", "-c", script, "-", *words], pass_fds=[theirs_in, theirs_out]
    )
    os.close(theirs_in), os.close(theirs_out)
    try:
        browser = Browser(ours_out, ours_in)
        browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        yield browser
    finally:
        process.kill()
        process.wait()
