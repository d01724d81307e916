"""An HTTP/1.1 server's side of one request, with no socket. It follows uvicorn."""

from fast_channels.types import Message
from fast_channels_testing._rules import (
    after_the_end,
    body_bytes,
    header_list,
    status_code,
    unexpected,
)


class HttpRules:
    """The states of one request and its response."""

    def __init__(self, method: str) -> None:
        self.final_event: Message | None = None
        self.started = False
        self.complete = False
        self._bodiless = method == "HEAD"
        self._missing: int | None = None  # bytes that the content-length still promises
        self._client_gone = False

    def application_sent(self, event: Message) -> Message | None:
        if self._client_gone:
            return None
        if self.complete:
            raise after_the_end(event, "the response was completed")
        if not self.started:
            return self._start(event)
        return self._body(event)

    def client_sent(self, event: Message) -> bool:
        if event["type"] == "http.disconnect":
            self._end()
            self._client_gone = True
            return False
        return self.final_event is None

    def application_ended(self) -> None:
        self._end()
        self._client_gone = True

    def _end(self) -> None:
        self.final_event = {"type": "http.disconnect"}

    def _start(self, event: Message) -> Message:
        if event["type"] != "http.response.start":
            raise unexpected(event, "http.response.start")
        status, headers = status_code(event), header_list(event)
        self._bodiless |= status in (204, 304)
        for name, value in headers:
            if name.lower() == b"content-length" and not self._bodiless:
                self._missing = int(value)
        self.started = True
        return event

    def _body(self, event: Message) -> Message:
        if event["type"] != "http.response.body":
            raise unexpected(event, "http.response.body")
        body = b"" if self._bodiless else body_bytes(event)
        if self._missing is not None:
            self._missing -= len(body)
            if self._missing < 0:
                raise RuntimeError("Response content longer than Content-Length")
        if not event.get("more_body", False):
            if self._missing:
                raise RuntimeError("Response content shorter than Content-Length")
            self.complete = True
            self._end()
        return {**event, "body": body}
