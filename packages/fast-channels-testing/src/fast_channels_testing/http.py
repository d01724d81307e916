"""`HttpCommunicator`: one HTTP request for tests, with no socket."""

from collections.abc import AsyncIterator, Mapping
from typing import Final, Self

from fast_channels.exceptions import ConnectionStateError
from fast_channels_testing._event_stream import EventStream, ServerSentEvent
from fast_channels_testing._http_rules import HttpRules
from fast_channels_testing._response import HttpResponse, HttpResponseStart
from fast_channels_testing._rules import ServerRules, body_bytes, header_list
from fast_channels_testing._scope import HeadersInput, QueryInput, connection_scope
from fast_channels_testing.application import (
    DEFAULT_TIMEOUT,
    Application,
    ApplicationCommunicator,
    Timeout,
)
from fast_channels_testing.exceptions import UnexpectedFrame

__all__ = ["HttpCommunicator", "HttpResponse", "HttpResponseStart", "ServerSentEvent"]

_WITHOUT_BODY: Final = ("GET", "HEAD", "OPTIONS", "DELETE")


class HttpCommunicator(ApplicationCommunicator):
    """Makes one request; returns the response whole, or in pieces as they come.

    ``query``, the query string or its names and values, may as well be in ``path``. See
    `ApplicationCommunicator` for waits, timeouts and errors, and for what it does to be ended:
    ``get_response`` is enough.

    ``async with`` sends the request: the block begins when the application has begun to answer or
    has ended, or when ``timeout`` is over. At its end the client leaves. Without ``async with`` the
    first call that waits for the response sends it. ``body`` is the whole body; a request that
    could have one and was given none, a POST for example, is left to ``send_request`` until then.

    What the application sends is checked as a server does: an event out of order, or a body that
    is not as long as its content-length, raises RuntimeError in the application.
    """

    def __init__(
        self,
        application: Application,
        method: str,
        path: str,
        body: bytes = b"",
        headers: HeadersInput | None = None,
        *,
        cookies: Mapping[str, str] | None = None,
        query: QueryInput | None = None,
        raise_app_exceptions: bool = True,
        timeout: float | None = 1,
    ) -> None:
        method = method.upper()
        self._rules = HttpRules(method)
        self._body = body
        self._requested = False
        self._request_complete = False
        self._response_start: HttpResponseStart | None = None
        self._stream = EventStream()
        scope = connection_scope("http", path, query, headers, cookies)
        # As uvicorn has it: sending to a client that is gone does nothing, it does not raise.
        scope["asgi"]["spec_version"] = "2.3"
        scope["scheme"] = "http"
        scope["method"] = method
        super().__init__(
            application, scope, raise_app_exceptions=raise_app_exceptions, timeout=timeout
        )

    def _server_rules(self) -> ServerRules:
        return self._rules

    async def send_request(self, body: bytes = b"", *, more_body: bool = False) -> None:
        """Send a piece of the request's body, the last one unless ``more_body``."""
        if self._request_complete:
            raise ConnectionStateError("the request was already sent to its end")
        await self.send_input({"type": "http.request", "body": body, "more_body": more_body})
        self._requested = True
        self._request_complete = not more_body

    async def get_response(self, timeout: Timeout = DEFAULT_TIMEOUT) -> HttpResponse:
        """Return the whole response, or what is left of it, after the application has ended.

        A real client has the response earlier than that where the application goes on working
        afterwards; to see that, use ``get_response_start`` and ``receive_body_chunk``.
        """
        await self._request()
        await self._expect(
            lambda: self._link.ended, timeout, "the whole response and the application's end"
        )
        start = await self.get_response_start()
        body = b"".join([chunk async for chunk in self.iter_body()])
        return HttpResponse(status=start["status"], headers=start["headers"], body=body)

    async def get_response_start(self, timeout: Timeout = DEFAULT_TIMEOUT) -> HttpResponseStart:
        """Return status and headers as soon as the application has sent them.

        With ``raise_app_exceptions=False`` an application that ends before is a 500, which is
        what its server makes of it.
        """
        await self._request()
        if self._response_start is None:
            if await self._output(timeout):
                event = self._link.output.popleft()
                self._response_start = HttpResponseStart(
                    status=event["status"], headers=header_list(event)
                )
            elif self._link.raise_errors:
                raise self._link.ended_error("the start of the response")
            else:
                self._response_start = HttpResponseStart(status=500, headers=[])
        return self._response_start

    async def receive_body_chunk(self, timeout: Timeout = DEFAULT_TIMEOUT) -> bytes:
        """Return the next piece of the response's body; ``b""`` at its end.

        Raises `ApplicationEnded` where the application ended before the body did: its client
        sees the connection break.
        """
        await self.get_response_start(timeout)
        rules, link = self._rules, self._link
        while True:
            await self._expect(
                lambda: bool(link.output) or rules.complete or link.ended,
                timeout,
                "a piece of the response's body",
            )
            if not link.output:
                break
            if chunk := body_bytes(link.output.popleft()):
                return chunk
        self._require_complete()
        return b""

    async def iter_body(self, timeout: Timeout = DEFAULT_TIMEOUT) -> AsyncIterator[bytes]:
        """Yield the pieces of the response's body; ``timeout`` is for each of them."""
        while chunk := await self.receive_body_chunk(timeout):
            yield chunk

    async def receive_event(self, timeout: Timeout = DEFAULT_TIMEOUT) -> ServerSentEvent:
        """Return the next server-sent event of the response, as an ``EventSource`` reads it.

        `UnexpectedFrame` if the response is no event stream, `ApplicationEnded` if the stream is
        over. What was received as chunks is not seen here, and the other way round.
        """
        event = await self._next_event(timeout)
        if event is None:
            raise self._link.ended_error("a server-sent event")
        return event

    async def iter_events(
        self, timeout: Timeout = DEFAULT_TIMEOUT
    ) -> AsyncIterator[ServerSentEvent]:
        """Yield the server-sent events to the stream's end; ``timeout`` is for each of them."""
        while (event := await self._next_event(timeout)) is not None:
            yield event

    @property
    def reconnection_time(self) -> int | None:
        """Milliseconds after which the event stream, as far as its events were received, told the
        client to connect again; None if it told nothing."""
        return self._stream.reconnection_time

    async def _next_event(self, timeout: Timeout) -> ServerSentEvent | None:
        _require_event_stream(await self.get_response_start(timeout))
        link, rules, stream = self._link, self._rules, self._stream

        def is_there() -> bool:
            while link.output:
                stream.feed(body_bytes(link.output.popleft()))
            return bool(stream.events) or rules.complete or link.ended

        await self._expect(is_there, timeout, "a server-sent event")
        if stream.events:
            return stream.events.popleft()
        self._require_complete()
        return None

    async def settle(self, timeout: Timeout = DEFAULT_TIMEOUT, *, alone: bool = False) -> None:
        """Send the request, if it was not, and wait until nothing is in flight.

        See `ApplicationCommunicator.settle`.
        """
        await self._request()
        await super().settle(timeout, alone=alone)

    async def disconnect(self, timeout: Timeout = DEFAULT_TIMEOUT) -> None:
        """Leave, as a client that closes its connection, and wait for the application to end.

        An application that reads gets ``http.disconnect``; one that sends is not told.
        """
        if self._link.task is None:
            return
        if not self._link.ended:
            self._link.push({"type": "http.disconnect"})
        await self.wait(timeout)

    async def __aenter__(self) -> Self:
        link = self._link
        try:
            self.start()
            if self._body or self.scope["method"] in _WITHOUT_BODY:
                await self._request()
                # What it comes to is for the first call in the block to tell.
                await link.until(
                    lambda: bool(link.errors or link.output) or link.ended, self.timeout
                )
        except BaseException as error:
            await self._stop_behind(error)
            raise
        return self

    async def _leave(self) -> None:
        await self.disconnect()

    def _require_complete(self) -> None:
        if self._rules.started and not self._rules.complete:
            raise self._link.ended_error("the rest of the response")

    async def _request(self) -> None:
        # An application may answer, and end, without having read the request.
        if not self._requested and not self._link.ended:
            await self.send_request(self._body)


def _require_event_stream(start: HttpResponseStart) -> None:
    headers = {name.lower(): value for name, value in start["headers"]}
    kind = headers.get(b"content-type", b"").decode("latin-1")
    if start["status"] != 200 or kind.partition(";")[0].strip().lower() != "text/event-stream":
        raise UnexpectedFrame(
            "expected an event stream, with status 200 and content-type 'text/event-stream'; "
            f"got {start['status']} and {kind!r}"
        )
