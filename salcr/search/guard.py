"""Who may use the pages of `serve`: requests of its own pages only, and of those with its token."""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple
from urllib.parse import urlsplit

from fastapi import HTTPException, Request

LOCAL_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


class Guard(NamedTuple):
    """What a request must fulfill."""

    hosts: frozenset[str] | None
    """Names of this machine that a request may use, None for any. Without a token, a page of
    another site could reach the server by a name of its own that it lets point here."""
    token: str | None
    """Secret that a request must know; None: it need not."""

    @property
    def cookie(self) -> str:
        """Return the name of the cookie that holds the token, another one for each server."""
        return "salcr_" + hashlib.sha256((self.token or "").encode()).hexdigest()[:8]

    def check(self, request: Request) -> None:
        """Refuse a request that uses another name, comes from another site, or has no token.

        Raises:
            HTTPException: with the reason.
        """
        host = request.headers.get("host", "")
        if self.hosts is not None and _host_name(host) not in self.hosts:
            names = ", ".join(sorted(self.hosts))
            raise HTTPException(403, f"this server is reached as {names} only; use such an address")
        origin = request.headers.get("origin")
        is_other = origin is not None and _netloc(origin) != host.lower()
        # The page itself holds nothing, and a link to it may be anywhere.
        if request.headers.get("sec-fetch-site", "none") in ("cross-site", "same-site"):
            is_other |= request.url.path != "/"
        if is_other:
            raise HTTPException(403, "pages of other sites may not use this server")
        if self.token is not None and not self._knows_token(request, self.token):
            raise HTTPException(401, "open the address with the token that `salcr serve` printed")

    def _knows_token(self, request: Request, token: str) -> bool:
        scheme, _, sent = request.headers.get("authorization", "").partition(" ")
        given = [
            sent if scheme.lower() == "bearer" else "",
            request.cookies.get(self.cookie, ""),
            request.query_params.get("token", "") if request.url.path == "/" else "",
        ]
        return any(hmac.compare_digest(one.encode(), token.encode()) for one in given)


def _netloc(address: str) -> str:
    """Return the host and port of an address; empty if it has none."""
    try:
        return urlsplit(address).netloc.lower()
    except ValueError:
        return ""


def _host_name(host: str) -> str:
    """Return the name in a Host header, without the port; empty if there is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
