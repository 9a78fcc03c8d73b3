"""Runs Snakemake and its jobs in forks of a process that has imported what they import.

That saves most of their processor time. A fork is as fresh as a new process: nothing that it
changes reaches the next one. The server itself does not import `salcr`, so that each fork gets the
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

# module -> what it imports from other packages
_IMPORTS = {
    "snakemake": ["snakemake.cli", "smart_open", "pydantic", "yaml"],
    "salcr": [
        "torch", "faiss", "numba", "pandas", "pydantic", "yaml", "scipy.optimize", "scipy.sparse",
        "sklearn.manifold", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_pdf",
        "tensorboard.summary.writer.event_file_writer",
    ],
}  # fmt: skip


def snakemake_in_fork(
    words: Sequence[str], environment: dict[str, str], *, jobs: bool
) -> tuple[int, str]:
    """Return status and joined output of `python -m snakemake WORDS`.

    Args:
        words: of the command line.
        environment: variables.
        jobs: whether its jobs run in forks, too.
    """
    address = f"{_server('snakemake')}/socket"
    executable = f"{_server('salcr')}/python" if jobs else sys.executable
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        streams = [output.fileno()] * 2
        status = fork_client.run_in_fork(
            address, [*words], streams, environment, executable=executable
        )
        output.seek(0)
        return status, output.read()


@cache
def _server(module: str) -> Path:
    """Start this test process's server of a module; return its folder. It ends with its input."""
    folder = Path(tempfile.mkdtemp(prefix="salcr-fork-", dir="/tmp"))  # sockets want short paths
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.support.fork_server", module, folder],
        cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    atexit.register(server.communicate)
    assert server.stdout is not None and server.stdout.readline() == b"listening\n"
    return folder


def serve(module: str, folder: Path) -> None:
    """Answer requests to run a module until the input ends."""
    for name in _IMPORTS[module]:
        importlib.import_module(name)
    if module == "snakemake":
        importlib.import_module("snakemake.cli").get_argument_parser()  # imports the plugins
    assert "salcr" not in sys.modules
    gc.collect()
    gc.freeze()
    python = folder / "python"  # asks this server, where `python -m MODULE` is called
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
                _answer(connection, module)
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


def _answer(connection: socket.socket, module: str) -> None:
    """Let a fork run what is asked for, and another one wait for it and send its exit status."""
    text, streams, *_ = socket.recv_fds(connection, 1 << 20, 2)
    while part := connection.recv(1 << 20):
        text += part
    if not os.fork():
        child = os.fork()
        if not child:
            _run(module, **json.loads(text), streams=streams)
            sys.exit()
        _, status = os.waitpid(child, 0)
        connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    for stream in streams:
        os.close(stream)


def _run(
    module: str, words: list[str], directory: str, environment: dict[str, str],
    streams: list[int], executable: str = sys.executable,
) -> None:  # fmt: skip
    """Become `python -m MODULE WORDS`."""
    for number, stream in enumerate((os.open(os.devnull, os.O_RDONLY), *streams)):
        os.dup2(stream, number)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = [directory, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = [module, *words]
    sys.executable = executable
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]))
