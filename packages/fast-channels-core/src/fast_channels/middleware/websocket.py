"""Who may open a WebSocket."""

import logging
from collections.abc import Iterable

from fast_channels.types import ASGIApp, Receive, Scope, Send

from ._origins import Origin, OriginPattern, parse_authority, parse_origin, parse_pattern
from .base import BaseMiddleware

__all__ = ["OriginValidator", "WebsocketDenier"]

_logger = logging.getLogger("fast_channels.middleware")


class WebsocketDenier:
    """An ASGI application that refuses every WebSocket; the client sees HTTP 403."""

    @classmethod
    def as_asgi(cls) -> ASGIApp:
        """The same as an instance; for routes that name it like a consumer."""
        return cls()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            raise ValueError(
                f"WebsocketDenier takes WebSocket connections, not {scope['type']!r}: "
                "route only those to it"
            )
        event = await receive()
        if event["type"] == "websocket.connect":  # or the client is gone already
            await send({"type": "websocket.close", "code": 1008})


class OriginValidator(BaseMiddleware):
    """Refuses WebSockets that pages of other sites open (HTTP 403, and a warning in the log).

    A browser lets any page open a WebSocket to any server and sends the server's cookies along;
    only the Origin header tells whose page it is. So a consumer that trusts cookies needs this.

    Without ``allowed_origins``, or with None, the page's host and port must be those of the Host
    header, and a page loaded without TLS cannot open a connection with TLS. (An ``https`` page is
    accepted on a connection that looks plain, which is what a proxy that ends TLS makes of it.)
    With ``trusted_forwarded_host``, ``X-Forwarded-Host`` and ``X-Forwarded-Proto`` are taken
    instead where they are present: for a proxy in front that always sets them and passes another
    Host on.

    ``allowed_origins`` is a list of patterns, and then Host plays no part:

    - ``"https://example.com"``, ``"http://localhost:5173"``: scheme, host and port; the scheme's
      default port if there is none
    - ``"example.com"``, ``"example.com:8443"``: a host with any scheme, and any port or this one
    - ``".example.com"``, ``"https://.example.com"``: the host and all of its subdomains
    - ``"null"``: pages without an origin, such as files and sandboxed frames of *any* site
    - ``"*"``: every connection, with or without an Origin

    Hosts are compared without regard to case, and may be given in Unicode. IPv6 addresses are in
    brackets. An empty list refuses everything. Raises :class:`ValueError` for other patterns.

    Clients that are not browsers need not send an Origin; ``allow_missing`` lets them in. They can
    also send any Origin they like: this protects a browser's user, it is no authentication.
    Several Origin headers are always refused, and so is an Origin that is not well formed, except
    with ``"*"``. Only WebSockets are looked at; HTTP and lifespan pass through.
    """

    def __init__(
        self,
        app: ASGIApp,
        allowed_origins: Iterable[str] | None = None,
        *,
        allow_missing: bool = False,
        trusted_forwarded_host: bool = False,
    ) -> None:
        super().__init__(app)
        self._allow_missing = allow_missing
        self._trusted_forwarded_host = trusted_forwarded_host
        self._special: frozenset[str] = frozenset()
        self._patterns: list[OriginPattern] | None = None
        if allowed_origins is not None:
            given = _checked(allowed_origins)
            self._special = frozenset({"*", "null"}.intersection(given))
            self._patterns = [parse_pattern(text) for text in given if text not in self._special]
        self._denier = WebsocketDenier()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            fault = self._fault(scope)
            if fault is not None:
                _logger.warning("refused a WebSocket to %.200r: %s", scope.get("path"), fault)
                await self._denier(scope, receive, send)
                return
        await super().__call__(scope, receive, send)

    def _fault(self, scope: Scope) -> str | None:
        """Why the connection is refused; None if it is not."""
        origins = _values(scope, b"origin")
        if len(origins) > 1:
            return f"it has {len(origins)} Origin headers"
        if "*" in self._special:
            return None
        if not origins:
            return None if self._allow_missing else "it has no Origin header (see allow_missing)"
        text = origins[0]
        if text == "null":
            return None if "null" in self._special else "its Origin is 'null'"
        origin = parse_origin(text)
        if origin is None:
            return f"its Origin {text[:200]!r} is malformed"
        if self._patterns is None:
            if self._is_same(origin, scope):
                return None
            return f"its Origin {text[:200]!r} is not that of this server (see allowed_origins)"
        if any(pattern.matches(origin) for pattern in self._patterns):
            return None
        return f"its Origin {text[:200]!r} is not allowed"

    def _is_same(self, origin: Origin, scope: Scope) -> bool:
        scheme = str(scope.get("scheme", "ws"))
        hosts = _values(scope, b"host")
        if self._trusted_forwarded_host:
            # Several proxies make a list; its first entry is what the browser used.
            hosts = [_first(value) for value in _values(scope, b"x-forwarded-host")][:1] or hosts
            for value in _values(scope, b"x-forwarded-proto")[:1]:
                scheme = _first(value).lower()
        authority = parse_authority(hosts[0]) if len(hosts) == 1 else None
        if authority is None:
            return False
        if origin.scheme != "https" and (origin.scheme != "http" or scheme in ("wss", "https")):
            return False
        host, port = authority
        if port is None:
            port = 443 if origin.scheme == "https" else 80
        return (origin.host, origin.port) == (host, port)


def _values(scope: Scope, name: bytes) -> list[str]:
    # Servers send names in lower case; one that did not must not get around the check.
    return [
        value.decode("latin-1").strip(" \t")
        for key, value in scope["headers"]
        if key.lower() == name
    ]


def _first(value: str) -> str:
    return value.partition(",")[0].strip(" \t")


def _checked(patterns: Iterable[object]) -> list[str]:
    if isinstance(patterns, str | bytes):
        raise TypeError(f"allowed_origins is a list of patterns; write [{patterns!r}]")
    checked: list[str] = []
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise TypeError(f"allowed_origins holds str, this is {pattern!r}")
        checked.append(pattern)
    return checked
