"""Dry runs of Snakemake in forks of one process that has imported it: a third of the time each.

A fork is as fresh as a new process: nothing that a Snakefile changes reaches the next dry run. The
server does not import `salcr`, so that each Snakefile gets the package beside it.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path


def run_forked(words: Sequence[str], environment: dict[str, str]) -> tuple[int, str]:
    """Return status and joined output of `snakemake WORDS`."""
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    with tempfile.NamedTemporaryFile() as output:
        request = {"words": list(words), "environment": environment, "output": output.name}
        print(json.dumps(request), file=server.stdin, flush=True)
        return int(server.stdout.readline()), Path(output.name).read_text()


@cache
def _server() -> subprocess.Popen[str]:
    """Start the server of this test process; it ends with its input."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.support.fork_server"], cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    atexit.register(server.communicate)
    return server


def serve() -> None:
    """Answer each request, a line of JSON, with the exit status of its fork."""
    import pydantic  # noqa: F401  what the Snakefile and a dry run import
    import smart_open  # noqa: F401
    import yaml  # noqa: F401
    from snakemake.cli import get_argument_parser

    get_argument_parser()  # imports the plugins
    gc.collect()
    gc.freeze()
    assert "salcr" not in sys.modules
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            _run(**request)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(words: list[str], environment: dict[str, str], output: str) -> None:
    """Become `snakemake WORDS`."""
    from snakemake.cli import main

    with Path(os.devnull).open() as nothing, Path(output).open("w") as file:
        for number, stream in enumerate((nothing, file, file)):
            os.dup2(stream.fileno(), number)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["snakemake", *words]
    main()


if __name__ == "__main__":
    serve()
