"""What a client reads of an HTTP response."""

from typing import TypedDict

__all__ = ["HttpResponse", "HttpResponseStart"]


class HttpResponseStart(TypedDict):
    """Status line and headers, the headers as the application sent them."""

    status: int
    headers: list[tuple[bytes, bytes]]


class HttpResponse(HttpResponseStart):
    """A whole response; ``body`` is all its chunks together."""

    body: bytes
