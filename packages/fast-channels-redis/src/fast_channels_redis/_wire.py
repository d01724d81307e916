"""How a message looks in a node's inbox, and how one that came twice is known."""

import itertools
import time
from collections import deque
from typing import NamedTuple

from fast_channels.exceptions import MessageDecodeError

_PARCEL, _GROUP = b"\x00", b"\x01"
_MOST_REMEMBERED = 16384
"""More than can be under way on a connection when it breaks, which is what may come again."""


class Arrived(NamedTuple):
    """``group`` is None for what is meant for single channels of the node."""

    sender: bytes
    serial: int
    group: str | None
    data: bytes


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
    kind, sender, serial = blob[:1], blob[1:9], int.from_bytes(blob[9:17])
    if kind == _PARCEL and len(blob) >= 17:
        return Arrived(sender, serial, None, blob[17:])
    if kind != _GROUP or len(blob) < 18:
        raise MessageDecodeError("not a message for a node's inbox")
    begin = 18 + blob[17]
    try:
        return Arrived(sender, serial, blob[18:begin].decode("ascii"), blob[begin:])
    except UnicodeDecodeError:
        raise MessageDecodeError("not a group's name in a message for a node's inbox") from None


class Duplicates:
    """Knows the messages that a node was sent lately.

    A command whose answer was lost is sent again, so its message may come twice.
    """

    def __init__(self) -> None:
        self._senders: dict[bytes, _Recent] = {}

    def is_one(self, arrived: Arrived) -> bool:
        """Whether it has come before; from now on it has."""
        recent = self._senders.get(arrived.sender)
        if recent is None:
            recent = self._senders[arrived.sender] = _Recent()
        return recent.saw(arrived.serial)

    def forget_idle(self, seconds: float) -> None:
        """Forget senders that have sent nothing for so long; to be called now and then."""
        limit = time.monotonic() - seconds
        for sender, recent in tuple(self._senders.items()):
            if recent.is_idle_since(limit):
                del self._senders[sender]


class _Recent:
    __slots__ = ("_last_then", "_looked_at", "_order", "_serials")

    def __init__(self) -> None:
        self._serials: set[int] = set()
        self._order: deque[int] = deque()
        self._looked_at = time.monotonic()
        self._last_then = 0

    def saw(self, serial: int) -> bool:
        serials = self._serials
        if serial in serials:
            return True
        serials.add(serial)
        self._order.append(serial)
        if len(serials) > _MOST_REMEMBERED:
            serials.discard(self._order.popleft())
        return False

    def is_idle_since(self, limit: float) -> bool:
        last = self._order[-1] if self._order else 0
        if last != self._last_then:
            self._last_then = last
            self._looked_at = time.monotonic()
        return self._looked_at < limit
