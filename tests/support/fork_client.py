"""Asks a fork server to run a module as `python -m` does; imports nothing that takes time."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path


def run_in_fork(
    address: str, words: list[str], streams: list[int], environment: dict[str, str], **more: str
) -> int:
    """Return the exit status of `python -m MODULE WORDS` in this folder, run in a fork.

    Args:
        address: path of the socket of the module's server.
        words: of the command line.
        streams: file descriptors for standard output and error.
        environment: variables of the fork.
        more: executable, what the fork takes for its Python.
    """
    request = {"words": words, "directory": str(Path.cwd()), "environment": environment, **more}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        socket.send_fds(connection, [json.dumps(request).encode()], streams)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile() as answer:
            return int(answer.read())


if __name__ == "__main__":  # in the place of python: ADDRESS -m MODULE WORDS
    _, address, _, _, *words = sys.argv
    sys.exit(run_in_fork(address, words, [1, 2], dict(os.environ)))
