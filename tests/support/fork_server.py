"""Runs Snakemake and its jobs in forks of a process that has imported what they import.

That saves most of their processor time. A fork is as clean as a new process: nothing that it
changes affects the next one. The server itself does not import `salcr`, so that each fork uses the
package of its own checkout.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tests.support import fork_client

# module -> what it imports, or has its jobs import, from other packages
_IMPORTS = {
    "snakemake": ["snakemake.cli", "smart_open", "pydantic", "yaml"],
    "salcr": [
        "torch", "faiss", "numba", "pandas", "pydantic", "yaml", "scipy.optimize", "scipy.sparse",
        "sklearn.manifold", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_pdf",
        "tensorboard.summary.writer.event_file_writer",
    ],
}  # fmt: skip


def snakemake_in_fork(words: Sequence[str], environment: dict[str, str]) -> tuple[int, str]:
    """Return status and combined output of `python -m snakemake WORDS`; jobs also run in forks."""
    address = str(_server() / "socket")
    with tempfile.TemporaryFile("w+") as output:
        streams = [output.fileno()] * 2
        status = fork_client.run_in_fork(address, "snakemake", [*words], streams, environment)
        output.seek(0)
        return status, output.read()


@cache
def _server() -> Path:
    """Start the server of this test process; return its folder. It ends when its input ends."""
    folder = Path(tempfile.mkdtemp(prefix="salcr-fork-", dir="/tmp"))  # sockets need short paths
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.support.fork_server", folder],
        cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    atexit.register(server.communicate)
    assert server.stdout is not None and server.stdout.readline() == b"listening\n"
    return folder


def serve(folder: Path) -> None:
    """Answer requests until the input ends."""
    python = folder / "python"  # replaces Python in the forks of Snakemake
    python.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -IS "{fork_client.__file__}" "{folder}/socket" "$@"\n'
    )
    python.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/socket")
        listener.listen()
        print("listening", flush=True)
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            with connection:
                _answer(connection, python)
            while _some_fork_ended():
                continue
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def _some_fork_ended() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:  # there is none
        return False


def _answer(connection: socket.socket, python: Path) -> None:
    """Make one fork run the request, and another wait for it and send its exit status."""
    text, streams, *_ = socket.recv_fds(connection, 1 << 20, 2)
    while part := connection.recv(1 << 20):
        text += part
    request = json.loads(text)
    _import_once(request["module"])
    if not os.fork():
        child = os.fork()
        if not child:
            _run(**request, streams=streams, python=python)
            sys.exit()
        _, status = os.waitpid(child, 0)
        connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    for stream in streams:
        os.close(stream)


@cache
def _import_once(module: str) -> None:
    for name in _IMPORTS[module]:
        importlib.import_module(name)
    if module == "snakemake":
        importlib.import_module("snakemake.cli").get_argument_parser()  # imports the plugins
    gc.collect()
    gc.freeze()
    assert "salcr" not in sys.modules


def _run(
    module: str, words: list[str], directory: str, environment: dict[str, str],
    streams: list[int], python: Path,
) -> None:  # fmt: skip
    """Become `python -m MODULE WORDS`."""
    for number, stream in enumerate((os.open(os.devnull, os.O_RDONLY), *streams)):
        os.dup2(stream, number)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = [directory, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = [module, *words]
    if module == "snakemake":
        sys.executable = str(python)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
