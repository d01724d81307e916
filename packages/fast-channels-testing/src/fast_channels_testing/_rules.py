"""What a server does between an application and its client: the part shared by all protocols."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, cast

from fast_channels.types import Message


class ServerRules(Protocol):
    """Judges what an application sends, and knows when its connection is over."""

    final_event: Message | None
    """What ``receive()`` returns once everything else was delivered; None while it must wait."""

    def application_sent(self, event: Message) -> Message | None:
        """Return what the client sees of it, None for nothing; raise what a server raises."""
        ...

    def client_sent(self, event: Message) -> bool:
        """Tell whether the event goes into the queue that the application reads."""
        ...

    def application_ended(self) -> None:
        """Take note that the application returned or raised."""
        ...


class PassThrough:
    """No rules: for protocols that this package does not know, and for tests of raw ASGI."""

    final_event: Message | None = None

    def application_sent(self, event: Message) -> Message | None:
        return event

    def client_sent(self, event: Message) -> bool:
        return True

    def application_ended(self) -> None:
        pass


def as_event(event: object, direction: str) -> Message:
    """Copy an ASGI event, so that what its sender does to it later cannot be seen."""
    if not isinstance(event, Mapping):
        raise TypeError(f"an ASGI event {direction} must be a dict, got {event!r}")
    copy = dict(cast("Mapping[str, Any]", event))
    if not isinstance(copy.get("type"), str):
        raise TypeError(f'an ASGI event {direction} needs a str under "type", got {copy!r}')
    return copy


def unexpected(event: Message, *expected: str) -> RuntimeError:
    names = " or ".join(repr(name) for name in expected)
    return RuntimeError(f"Expected ASGI message {names}, but got {event['type']!r}.")


def after_the_end(event: Message, end: str) -> RuntimeError:
    return RuntimeError(f"Unexpected ASGI message {event['type']!r}, after {end}.")


def header_list(event: Message) -> list[tuple[bytes, bytes]]:
    """Return the headers of an event from the application; servers take bytes and only bytes."""
    headers: object = event.get("headers") or ()
    if not isinstance(headers, Iterable):
        raise TypeError(f"the headers of {event['type']!r} must be pairs of bytes, got {headers!r}")
    pairs: list[tuple[bytes, bytes]] = []
    for header in cast("Iterable[object]", headers):
        match header:
            case (bytes() as name, bytes() as value):
                pairs.append((name, value))
            case _:
                raise TypeError(
                    f"every header of {event['type']!r} must be a pair of bytes, got {header!r}"
                )
    return pairs


def status_code(event: Message) -> int:
    status: object = event.get("status")
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:
        raise ValueError(
            f"the status of {event['type']!r} must be an int from 200 to 599, got {status!r}"
        )
    return status


def body_bytes(event: Message) -> bytes:
    return as_bytes(event.get("body", b""), f"the body of {event['type']!r}")


def as_bytes(data: object, what: str) -> bytes:
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"{what} must be bytes, got {data!r}")
    return bytes(cast("bytes | bytearray | memoryview", data))
