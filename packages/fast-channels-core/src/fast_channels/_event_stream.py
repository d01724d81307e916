"""Events in the format of an event stream: WHATWG HTML, 9.2.5 and 9.2.6."""

from typing import Final

LAST_EVENT_ID: Final = b"last-event-id"
CONTENT_TYPE: Final = b"text/event-stream"
HEADERS: Final = (
    (b"content-type", CONTENT_TYPE),
    (b"cache-control", b"no-store"),
    # nginx would hold events back until it has a few kilobytes of them.
    (b"x-accel-buffering", b"no"),
)


def encode_event(data: str, event: str | None, id: str | None, retry: int | None) -> bytes:
    """One event. Raises :class:`TypeError` and :class:`ValueError` for what cannot be one."""
    if not isinstance(data, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise TypeError(f"the data of an event must be a str, not {type(data).__name__}")
    fields = ""
    if id is not None:
        fields += f"id: {_one_line('id', id)}\n"
    if event is not None:
        fields += f"event: {_one_line('name', event)}\n"
    if retry is not None:
        fields += f"retry: {_milliseconds(retry)}\n"
    return f"{fields}{_lines('data', data)}\n".encode()


def encode_comment(text: str) -> bytes:
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise TypeError(f"a comment must be a str, not {type(text).__name__}")
    return f"{_lines('', text)}\n".encode()


def encode_retry(seconds: float) -> bytes:
    """No event: only the time after which the client is to connect again."""
    return b"retry: %d\n\n" % round(seconds * 1000)


def decode_last_event_id(value: bytes) -> str | None:
    """What a client sends as Last-Event-ID (9.2.4); None if that is nothing, or not UTF-8."""
    try:
        return value.decode() or None
    except UnicodeDecodeError:
        return None


def _lines(field: str, text: str) -> str:
    # Only these end a line of the format; str.splitlines() knows others.
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(f"{field}: {line}\n" for line in text.split("\n"))


def _one_line(what: str, text: str) -> str:
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise TypeError(f"the {what} of an event must be a str, not {type(text).__name__}")
    if "\n" in text or "\r" in text or "\0" in text:
        # The first two would begin another field; a client ignores an id with the third.
        raise ValueError(f"the {what} of an event must have no CR, LF or NUL in it, got {text!r}")
    return text


def _milliseconds(retry: int) -> int:
    if isinstance(retry, bool) or not isinstance(retry, int):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise TypeError(f"retry must be an int, in milliseconds, not {retry!r}")
    if retry < 0:
        raise ValueError(f"retry must be 0 milliseconds or more, not {retry}")
    return int(retry)
