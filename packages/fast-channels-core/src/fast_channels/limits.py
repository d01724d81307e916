"""Limits for what one client may ask of a server: frames, groups, connections.

A consumer has them as an attribute, any other ASGI application by a middleware::

    class Chat(AsyncJsonWebsocketConsumer):
        limits = Limits(frame_bytes=16_384, json_depth=20, frames_per_second=20, groups=50)

    app = LimitsMiddleware(app, limits=Limits(frames_per_second=20), connections_per_client=10)

What was refused is counted in :data:`fast_channels.statistics.statistics`, as ``limit.…``.
"""

import math
from collections.abc import Callable, Hashable, MutableMapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from fast_channels._guard import Guard
from fast_channels._refusal import PLAIN_TEXT, deny
from fast_channels.middleware.base import BaseMiddleware
from fast_channels.statistics import statistics
from fast_channels.types import ASGIApp, Receive, Scope, Send

__all__ = ["Limits", "LimitsMiddleware", "by_address", "by_user"]

OnExcess = Literal["close", "delay", "report"]
OnOversize = Literal["close", "report"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one WebSocket connection may do. None, the default of each, is no limit.

    A frame here is a message as ASGI has it: text or bytes, put together from its fragments. The
    server has all of it in memory before it can be looked at, so set the server's own limit, too
    (``--ws-max-size`` of uvicorn); pings are the server's own affair.

    An application behind a limit that closes gets ``websocket.disconnect`` with the code that the
    client is sent, at once and as its last event. On daphne, which sends no such codes, the client
    sees 4008 for 1008 and 4009 for 1009.

    Reports are text frames such as ``{"type": "error", "code": 1008, "error": "limit.rate",
    "message": "…", "dropped": 3}``. ``dropped``: how many frames since the last report. After
    five reports at once there is one a second at most, however many frames are dropped; those that
    were dropped after the last report are told with the next, if there is one.

    Raises :class:`TypeError` and :class:`ValueError` for limits that make no sense.
    """

    frame_bytes: int | None = None
    """Bytes of a frame; of text, in UTF-8. Over it: 1009 (RFC 6455, 7.4.1), or a report."""

    json_depth: int | None = None
    """How many arrays and objects may be nested in a frame of text: ``[1]`` has depth 1. Over it:
    1008, or a report. What is no JSON is left to the application."""

    on_oversize: OnOversize = "close"
    """What happens to a frame over ``frame_bytes`` or ``json_depth``: the connection is closed, or
    the frame dropped and reported to the client."""

    frames_per_second: float | None = None
    """How many frames a client may send in the long run."""

    burst: int | None = None
    """How many frames it may send at once after a pause; None for a second's worth."""

    on_excess: OnExcess = "close"
    """What happens to a frame over the rate.

    ``"close"``: the connection is closed with 1008. Against a flood this helps least: some servers
    read on until the client has answered their close frame (uvicorn for up to 10 s, except with
    ``--ws websockets``), and it may come back at once.

    ``"delay"``: the frame waits for its turn, and nothing more is received until then, so that TCP
    slows the client down. None is lost. That the client has left is seen after the frames before.

    ``"report"``: the frame is dropped and reported to the client. A client that sends more than
    twice its rate is slowed down besides.
    """

    groups: int | None = None
    """How many groups the connection's channel may be in at a time, the consumer's own ``groups``
    included. Over it ``group_add`` raises :class:`TooManyGroups`, in any process. Counts for
    consumers of every protocol, on the layers that this project has."""

    def __post_init__(self) -> None:
        for name in ("frame_bytes", "json_depth", "burst", "groups"):
            _require_count(name, getattr(self, name))
        _require_rate(self.frames_per_second)
        if self.burst is not None and self.frames_per_second is None:
            raise ValueError("burst is a limit only together with frames_per_second: give both")
        _require_choice("on_excess", self.on_excess, OnExcess)
        _require_choice("on_oversize", self.on_oversize, OnOversize)

    @property
    def frames_at_once(self) -> int:
        """:attr:`burst`, or what stands for None."""
        return self.burst or max(1, math.ceil(self.frames_per_second or 1))

    @property
    def concern_frames(self) -> bool:
        """Whether there is any limit for what a client sends."""
        return (self.frame_bytes, self.json_depth, self.frames_per_second) != (None, None, None)


def _require_count(name: str, value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int or None, not {value!r}")
    if value < 1:
        raise ValueError(f"{name} is {value!r}, expected 1 or more, or None for no limit")


def _require_rate(value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"frames_per_second must be a number or None, not {value!r}")
    if not 0 < value < math.inf:
        raise ValueError(f"frames_per_second is {value!r}, expected a number above 0")


def _require_choice(name: str, value: object, choices: Any) -> None:
    if value not in (known := get_args(choices)):
        raise ValueError(f"{name} is {value!r}, expected one of {known}")


def by_address(scope: Scope) -> Hashable | None:
    """The client's address, without its port; None if the server does not know it.

    Behind a proxy that is the proxy's, unless the server takes the client's from its headers
    (``--proxy-headers`` of uvicorn and daphne). All who share an address share its connections.
    """
    client = scope.get("client")
    return ("address", client[0]) if client else None


def by_user(scope: Scope) -> Hashable | None:
    """The user in ``scope["user"]``, by its ``pk``, ``id`` or ``username``; for anybody who is
    not authenticated, :func:`by_address`.

    The middleware that finds out who it is has to be outside.
    """
    user = scope.get("user")
    if user is not None and getattr(user, "is_authenticated", True):
        for name in ("pk", "id", "username"):
            if (value := getattr(user, name, None)) is not None:
                return ("user", value)
    return by_address(scope)


class LimitsMiddleware(BaseMiddleware):
    """Keeps limits in front of any ASGI application. Only WebSockets are looked at.

    ``limits``: for each connection. In front of a consumer its ``limits`` attribute does the same
    for less: this has to wrap ``send``, which broadcasts notice. ``Limits.groups`` is that
    attribute's alone; it raises :class:`ValueError` here.

    ``connections_per_client``: how many WebSockets a client may have open at a time in this
    process, from the handshake until the application has ended. One more is refused with HTTP 429
    where the server can do that (the extension ``websocket.http.response``), else with 403.

    ``client_key``: who is a client, by the scope: :func:`by_address`, :func:`by_user`, or a
    function of your own. Connections for which it returns None are not counted.

    After a limit has closed the connection, ``send`` raises :class:`ConnectionError`, as the ASGI
    specification wants it for a client that is gone.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Limits | None = None,
        connections_per_client: int | None = None,
        client_key: Callable[[Scope], Hashable | None] = by_address,
    ) -> None:
        super().__init__(app)
        _require_count("connections_per_client", connections_per_client)
        if limits is not None and limits.groups is not None:
            raise ValueError(
                "Limits.groups concerns the channel of a consumer, which no middleware knows: "
                "set it in the consumer's attribute limits"
            )
        self._limits = limits if limits is not None and limits.concern_frames else None
        self._connections_per_client = connections_per_client
        self._client_key = client_key
        self._open: dict[Hashable, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, or refuse."""
        if scope["type"] != "websocket":
            await super().__call__(scope, receive, send)
            return
        allowed = self._connections_per_client
        if allowed is None or (key := self._client_key(scope)) is None:
            await self._serve(scope, receive, send)
            return
        if self._open.get(key, 0) >= allowed:
            statistics.count(
                "limit.connections", f"{key!r} has {allowed} WebSockets and was refused another"
            )
            await deny(scope, receive, send, 429, [PLAIN_TEXT], b"Too many connections.", code=1008)
            return
        self._open[key] = self._open.get(key, 0) + 1
        try:
            await self._serve(scope, receive, send)
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._limits is None:
            await super().__call__(scope, receive, send)
            return
        async with Guard(self._limits, scope, receive, send) as guard:

            async def send_while_open(event: MutableMapping[str, Any]) -> None:
                if guard.ended is not None:
                    raise ConnectionError(f"the connection was closed: {guard.ended['reason']}")
                await send(event)

            await super().__call__(scope, guard.receive, send_while_open)
