"""The channels and groups of one node: what every layer keeps in the process itself."""

import asyncio
import secrets
from abc import ABC, abstractmethod
from collections.abc import Collection

from fast_channels.exceptions import TooManyGroups
from fast_channels.layers._mailbox import Mailbox
from fast_channels.layers._names import SPECIFIC_MARK
from fast_channels.statistics import statistics


class LocalTable:
    """Channels by name, groups of channels, and how a message reaches them.

    Nothing here waits or fails, so leaving always works. It has no lock of its own: the
    in-memory layer shares one table between threads and guards it, other layers have one table
    for each event loop.
    """

    __slots__ = ("_serial", "channels", "groups", "node_id")

    def __init__(self) -> None:
        self.node_id: str = secrets.token_hex(8)
        self.channels: dict[str, Mailbox] = {}
        # Dicts as sets that keep the order of joining.
        self.groups: dict[str, dict[Mailbox, None]] = {}
        self._serial = 0

    def new_name(self, prefix: str) -> str:
        """A name that no other channel of any node has, or had."""
        self._serial += 1
        return f"{prefix}.{self.node_id}{SPECIFIC_MARK}{self._serial:x}"

    def open(self, mailbox: Mailbox) -> None:
        self.channels[mailbox.name] = mailbox

    def close(self, mailbox: Mailbox, loop: asyncio.AbstractEventLoop | None) -> list[str]:
        """Take the channel out of its groups and the table; the groups that are empty now."""
        if self.channels.get(mailbox.name) is mailbox:
            del self.channels[mailbox.name]
        emptied = [group for group in mailbox.groups or () if self._remove(group, mailbox)]
        mailbox.groups = None
        mailbox.close(loop)
        return emptied

    def join(self, group: str, mailbox: Mailbox) -> bool:
        """Add a member; True when it is the first of this group. Twice is once.

        Raises :class:`TooManyGroups`, before anything is changed.
        """
        if mailbox.groups is None:
            mailbox.groups = set()
        if mailbox.max_groups is not None:
            _require_room(mailbox.max_groups, group, mailbox)
        first = group not in self.groups
        self.groups.setdefault(group, {})[mailbox] = None
        mailbox.groups.add(group)
        return first

    def leave(self, group: str, mailbox: Mailbox) -> bool:
        """Remove a member; True when the group is empty now. A stranger may leave, too."""
        if mailbox.groups is None or group not in mailbox.groups:
            return False
        mailbox.groups.discard(group)
        return self._remove(group, mailbox)

    def _remove(self, group: str, mailbox: Mailbox) -> bool:
        members = self.groups[group]
        del members[mailbox]
        if members:
            return False
        del self.groups[group]
        return True

    def members(self, group: str) -> Collection[Mailbox]:
        """The members, in order of joining; valid until the table changes."""
        return self.groups.get(group, ())


def _require_room(limit: int, group: str, mailbox: Mailbox) -> None:
    groups = mailbox.groups or ()
    if len(groups) >= limit and group not in groups:
        statistics.count(
            "limit.groups", f"{mailbox.name!r} is in {limit} groups and did not join {group!r}"
        )
        raise TooManyGroups(mailbox.name, limit)


def count_gone(channel: str) -> None:
    statistics.count("channel.gone", f"a message to {channel!r}, which is not open")


def count_refused(mailbox: Mailbox, group: str) -> None:
    statistics.count(
        "event.full", f"{mailbox.name!r} is full or closed and missed a message to {group!r}"
    )


class DeliversLocally(ABC):
    """The power of a layer to fill a mailbox that somebody else owns.

    A consumer's messages then reach it without a task that calls ``receive`` for it.
    """

    @abstractmethod
    async def open_mailbox(self, mailbox: Mailbox, prefix: str = "specific") -> None:
        """Give the mailbox a name and a capacity, and deliver to it until its channel closes."""
