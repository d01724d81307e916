"""What the communicators raise of their own, all under `FastChannelsError`.

An error of the application is not among them: it reaches the test as the very exception that
the application raised.
"""

from typing import Self

from fast_channels.exceptions import FastChannelsError

__all__ = [
    "ApplicationEnded",
    "CommunicatorTimeout",
    "LifespanFailed",
    "UnexpectedFrame",
    "WebsocketClosed",
]


class CommunicatorTimeout(FastChannelsError, TimeoutError):
    """A wait took longer than its ``timeout``; the application was not touched and still runs.

    The text lists the frames exchanged so far and the lines at which the application waits.
    """


class ApplicationEnded(FastChannelsError, RuntimeError):
    """The application is over without the event that the test waits for, or is sending."""


class LifespanFailed(FastChannelsError, RuntimeError):
    """The application said, without an exception, that its startup or shutdown failed."""


class WebsocketClosed(FastChannelsError, ConnectionError):
    """The WebSocket is closed, seen from the client."""

    code: int
    """The close code; 1006 where a client gets no close frame, as after a refused handshake."""

    reason: str
    """The reason of the close frame, often empty."""

    def __init__(self, code: int, reason: str, explanation: str) -> None:
        super().__init__(f"the WebSocket is closed: {explanation} (code {code}, {reason=})")
        self._explanation = explanation
        self.code = code
        self.reason = reason

    def __reduce__(self) -> tuple[type[Self], tuple[int, str, str]]:
        # The default would call the class with the finished sentence.
        return type(self), (self.code, self.reason, self._explanation)


class UnexpectedFrame(FastChannelsError, AssertionError):
    """The application sent something else than the call can return, such as bytes for JSON."""
