"""How a message looks in a node's inbox, and how one that came twice is known."""

import itertools
import time
from collections import deque
from typing import TypeAlias

from fast_channels.exceptions import MessageDecodeError
from fast_channels_redis._commands import MOST_CALLS

_PARCEL, _GROUP = b"\x00", b"\x01"
_MOST_REMEMBERED = MOST_CALLS
"""As many as can be under way on a connection when it breaks: those may come again."""


Arrived: TypeAlias = tuple[bytes, bytes, str | None, bytes]
"""Sender, serial number, group, data. Without a group it is meant for single channels."""


class Stamps:
    """Marks what a node sends: its id and a serial number come before the data."""

    def __init__(self, node_id: str) -> None:
        sender = bytes.fromhex(node_id)
        self._for_parcels = _PARCEL + sender
        self._for_groups = _GROUP + sender
        self._serials = itertools.count(1)

    def parcel(self, data: bytes) -> bytes:
        return self._for_parcels + next(self._serials).to_bytes(8) + data

    def group(self, group: str, data: bytes) -> bytes:
        name = group.encode()
        serial = next(self._serials).to_bytes(8)
        return b"%b%b%c%b%b" % (self._for_groups, serial, len(name), name, data)


def parse(blob: bytes) -> Arrived:
    """Raises :class:`MessageDecodeError` for what :class:`Stamps` did not make."""
    kind = blob[:1]
    if kind == _PARCEL and len(blob) >= 17:
        return blob[1:9], blob[9:17], None, blob[17:]
    if kind != _GROUP or len(blob) < 18:
        raise MessageDecodeError("not a message for a node's inbox")
    begin = 18 + blob[17]
    try:
        return blob[1:9], blob[9:17], blob[18:begin].decode("ascii"), blob[begin:]
    except UnicodeDecodeError:
        raise MessageDecodeError("not a group's name in a message for a node's inbox") from None


class Duplicates:
    """Knows the messages that a node was sent lately.

    A command whose answer was lost is sent again, so its message may come twice.
    """

    def __init__(self) -> None:
        self._senders: dict[bytes, _Recent] = {}

    def knows(self, sender: bytes, serial: bytes) -> bool:
        """Whether the message has come before; from now on it has."""
        recent = self._senders.get(sender)
        if recent is None:
            recent = self._senders[sender] = _Recent()
        serials = recent.serials
        if serial in serials:
            return True
        serials.add(serial)
        recent.order.append(serial)
        if len(serials) > _MOST_REMEMBERED:
            serials.discard(recent.order.popleft())
        return False

    def forget_idle(self, seconds: float) -> None:
        """Forget senders that have sent nothing for so long; to be called now and then."""
        now = time.monotonic()
        for sender, recent in tuple(self._senders.items()):
            if recent.order[-1] != recent.last:
                recent.last, recent.last_changed = recent.order[-1], now
            elif now - recent.last_changed > seconds:
                del self._senders[sender]


class _Recent:
    __slots__ = ("last", "last_changed", "order", "serials")

    def __init__(self) -> None:
        self.serials: set[bytes] = set()
        self.order: deque[bytes] = deque()
        self.last = b""
        self.last_changed = 0.0
