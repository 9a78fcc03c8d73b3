"""Search an index in a browser, on a page that this machine serves until it is stopped with Ctrl-C.

The page is for this machine alone unless --host names another address; then a token is demanded,
which is part of the printed address. Pictures that are searched for are not stored.
"""

from __future__ import annotations

import argparse
import importlib.util
import ipaddress
import secrets
import socket
from contextlib import closing
from pathlib import Path

from salcr.config import cli
from salcr.config.schema import Config
from salcr.errors import SalcrError
from salcr.log import say, warn
from salcr.search.queries import Searcher, read_index_of
from salcr.training import devices


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments."""
    parser.add_argument("--index", type=Path, required=True, help="folder that embed wrote")
    parser.add_argument("--checkpoint", type=Path, required=True, help="network that embed used")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to serve at (default: 127.0.0.1, this machine alone)",
    )
    parser.add_argument(
        "--port",
        action=cli.Integer,
        least=0,
        most=65535,
        default=8000,
        help="0: any that is free (default: 8000)",
    )
    parser.add_argument(
        "--token",
        action="store_true",
        help="demand a token at 127.0.0.1, too, where other people use this machine",
    )
    cli.add_compute(parser)


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Serve the page until the process is stopped."""
    for package in ("fastapi", "uvicorn"):
        if importlib.util.find_spec(package) is None:
            raise SalcrError(f"{package} is not installed; run: pip install '.[serve]'")
    from salcr.search.guard import LOCAL_HOSTS, Guard
    from salcr.search.server import make_app, make_server

    index = read_index_of(arguments.index, arguments.checkpoint)
    with closing(_listening(arguments.host, arguments.port)) as listening:
        device = devices.prepare(arguments.device, arguments.threads, wait=False)
        searcher = Searcher.read(
            index, arguments.checkpoint, device, settings.numerics, threads=arguments.threads
        )
        address, port = listening.getsockname()[:2]
        is_local = ipaddress.ip_address(address).is_loopback
        token = None if is_local and not arguments.token else secrets.token_urlsafe(24)
        app = make_app(searcher, Guard(LOCAL_HOSTS | {address} if is_local else None, token))
        name = socket.gethostname() if address in ("0.0.0.0", "::") else address
        place = f"http://{f'[{name}]' if ':' in name else name}:{port}/"
        say(f"open {place}{f'?token={token}' if token else ''} in a browser; Ctrl-C ends")
        if not is_local:
            warn("pictures of people are sent without encryption; docs/search.md has a safer way")
        make_server(app).run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address.

    Raises:
        SalcrError: the address is not of this machine, or the port is in use.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SalcrError(
            f"--host {host} --port {port}: cannot be served at ({reason}); give another --port, or "
            "an address of this machine"
        ) from None
