"""Asks a fork server to run a module like `python -m`; imports nothing that takes time."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path


def run_in_fork(
    address: str, module: str, words: list[str], streams: list[int], environment: dict[str, str]
) -> int:
    """Return the exit status of `python -m MODULE WORDS` in this folder, run in a fork.

    Args:
        address: Path of the server's socket.
        module: Module to run.
        words: Its command-line arguments.
        streams: File descriptors for standard output and error.
        environment: Environment variables of the fork.
    """
    request = {"module": module, "words": words, "directory": str(Path.cwd())}
    request["environment"] = environment
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        socket.send_fds(connection, [json.dumps(request).encode()], streams)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile() as answer:
            return int(answer.read())


if __name__ == "__main__":  # in place of python: ADDRESS -m MODULE WORDS
    _, address, _, module, *words = sys.argv
    sys.exit(run_in_fork(address, module, words, [1, 2], dict(os.environ)))
