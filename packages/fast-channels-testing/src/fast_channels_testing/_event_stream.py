"""What an `EventSource` reads of a stream: WHATWG HTML, 9.2.5 and 9.2.6."""

import codecs
import json
from collections import deque
from dataclasses import dataclass
from typing import Any

__all__ = ["EventStream", "ServerSentEvent"]


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event, as a listener of an ``EventSource`` gets it."""

    data: str
    """Its lines are joined by LF."""

    event: str = "message"
    """Its name."""

    id: str = ""
    """The id that the client would ask to go on from: that of this event, or of an earlier one."""

    def json(self) -> Any:
        """Return what the data, which is JSON, stands for."""
        return json.loads(self.data)


class EventStream:
    """Makes events of the chunks of a body, wherever these are cut."""

    def __init__(self) -> None:
        self.events: deque[ServerSentEvent] = deque()
        self.reconnection_time: int | None = None
        # Without the byte order mark that a stream may begin with.
        self._decode = codecs.getincrementaldecoder("utf-8-sig")(errors="replace").decode
        self._line = ""
        self._skips_lf = False
        self._data: list[str] = []
        self._name = ""
        self._id = ""

    def feed(self, chunk: bytes) -> None:
        text = self._decode(chunk)
        if not text:
            return
        if self._skips_lf:
            # The other half of a CRLF that was cut in two.
            text = text.removeprefix("\n")
        self._skips_lf = text.endswith("\r")
        text = self._line + text.replace("\r\n", "\n").replace("\r", "\n")
        *lines, self._line = text.split("\n")
        for line in lines:
            self._take(line)

    def _take(self, line: str) -> None:
        if not line:
            self._end_event()
            return
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "data":
                self._data.append(value)
            case "event":
                self._name = value
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self.reconnection_time = int(value)
            case _:
                pass  # A comment, or what is not known, is ignored.

    def _end_event(self) -> None:
        if self._data:
            data = "\n".join(self._data)
            self.events.append(ServerSentEvent(data, self._name or "message", self._id))
        self._data.clear()
        self._name = ""
