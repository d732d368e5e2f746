"""Who may talk to the page: whoever holds its token, from this machine, and no other page.

A browser will send requests to a local server for any site that asks it to. So the host has to be
one of ours (a name that a stranger points here is refused), whatever changes something has to come
from our own page, and everything needs a token that only the address on the terminal holds.
"""

from __future__ import annotations

import secrets
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_SENT: Final = 1 << 20
"""Bytes of a request's body."""
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
        "connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
NOT_OPEN: Final = "This page opens with the address that `latentlabels review` printed."


class Guard:
    """Lets requests through to an application, or refuses them.

    Args:
        app: the application.
        port: where it listens.
        token: what its owner knows.
    """

    def __init__(self, app: ASGIApp, *, port: int, token: str) -> None:
        self.app = app
        self.token = token
        self.hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        # Cookies are not kept apart by port.
        self.cookie = f"latentlabels-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        shown = self._token_in_address(scope)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                if shown and refusal is None:
                    headers["Set-Cookie"] = (
                        f"{self.cookie}={self.token}; HttpOnly; SameSite=Strict; Path=/"
                    )
            await send(message)

        answer = self.app if refusal is None else refusal
        await answer(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        """Why a request is not answered."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if host not in self.hosts:
            return PlainTextResponse("This server answers to 127.0.0.1 and localhost.", 421)
        if not (self._token_in_address(scope) or self._token_in_cookie(headers)):
            return PlainTextResponse(NOT_OPEN, 403)
        if scope["method"] in ("GET", "HEAD"):
            return None
        if headers.get("origin") != f"http://{host}":
            return PlainTextResponse("Only the page itself may change something.", 403)
        length = headers.get("content-length", "")
        if not length.isdecimal() or int(length) > MOST_SENT:
            return PlainTextResponse(f"A request says its length, up to {MOST_SENT} bytes.", 413)
        return None

    def _token_in_address(self, scope: Scope) -> bool:
        """Whether this is the address on the terminal."""
        asked = scope["path"] == "/" and scope["method"] == "GET"
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])
        return asked and self._is_token(given[0])

    def _token_in_cookie(self, headers: Headers) -> bool:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return False
        return cookie is not None and self._is_token(cookie.value)

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self.token.encode())
