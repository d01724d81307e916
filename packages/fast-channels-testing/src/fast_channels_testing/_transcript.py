"""The frames of one connection, kept for the text of an error."""

import traceback
from collections import deque

from fast_channels.types import Message
from fast_channels_testing._shorten import make_shortener
from fast_channels_testing._stack import frame_label

_KEPT = 40

_shorten = make_shortener(levels=6)


class Transcript:
    """The last frames in order, and how many there were before them."""

    def __init__(self) -> None:
        self._entries: deque[tuple[str, Message | str]] = deque(maxlen=_KEPT)
        self._total = 0

    def to_application(self, event: Message) -> None:
        self._add("->", event)

    def from_application(self, event: Message) -> None:
        self._add("<-", event)

    def application_error(self, exc: BaseException) -> None:
        # As text: the exception would keep every frame of its traceback alive.
        last = traceback.extract_tb(exc.__traceback__, limit=-1)
        place = f", raised at {frame_label(last[0])}" if last else ""
        self._add("!!", f"{type(exc).__name__}: {exc}{place}")

    def _add(self, mark: str, entry: Message | str) -> None:
        self._entries.append((mark, entry))
        self._total += 1

    def __str__(self) -> str:
        if not self._entries:
            return "no frames so far"
        lines = ["frames so far (-> to the application, <- from it):"]
        if (earlier := self._total - len(self._entries)) > 0:
            lines.append(f"  ({earlier} earlier ones left out)")
        lines += [f"  {mark} {_render(entry)}" for mark, entry in self._entries]
        return "\n".join(lines)


def _render(entry: Message | str) -> str:
    if isinstance(entry, str):
        return entry
    values = [
        f"{key}={_shorten.repr(value)}"
        for key, value in entry.items()
        if key != "type" and value is not None and value != []
    ]
    return " ".join([entry["type"], *values])
