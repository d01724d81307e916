"""The general channels of the in-memory layer, which exist as soon as they are named."""

from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice

from fast_channels.layers._capacity import CapacityRules
from fast_channels.layers._mailbox import Mailbox


class GeneralChannels:
    """Mailboxes by name, for as long as one holds a message, a group or a receiver.

    Nobody closes a general channel, so each one that is made looks after the two that were
    looked after longest ago: what holds only expired messages is forgotten then. The caller
    holds the layer's lock.
    """

    __slots__ = ("_capacity", "_mailboxes", "_receivers")

    def __init__(self, capacity: CapacityRules) -> None:
        self._capacity = capacity
        self._mailboxes: OrderedDict[str, Mailbox] = OrderedDict()
        self._receivers: dict[Mailbox, int] = {}

    def __iter__(self) -> Iterator[Mailbox]:
        return iter(tuple(self._mailboxes.values()))

    def get(self, channel: str) -> Mailbox | None:
        return self._mailboxes.get(channel)

    def find_or_create(self, channel: str) -> Mailbox:
        mailbox = self._mailboxes.get(channel)
        if mailbox is None:
            for oldest in tuple(islice(self._mailboxes.values(), 2)):
                self._mailboxes.move_to_end(oldest.name)
                oldest.drop_expired()
                self.drop_if_unused(oldest)
            mailbox = self._mailboxes[channel] = Mailbox()
            mailbox.open(channel, self._capacity(channel))
        return mailbox

    def enter(self, channel: str) -> Mailbox:
        """The mailbox for a receiver, which leaves with :meth:`leave`."""
        mailbox = self.find_or_create(channel)
        self._receivers[mailbox] = self._receivers.get(mailbox, 0) + 1
        return mailbox

    def leave(self, mailbox: Mailbox) -> None:
        self._receivers[mailbox] -= 1
        if not self._receivers[mailbox]:
            del self._receivers[mailbox]
        self.drop_if_unused(mailbox)

    def forget_all(self) -> None:
        """Start anew; receivers of the old mailboxes leave as they always do."""
        self._mailboxes.clear()

    def drop_if_unused(self, mailbox: Mailbox) -> None:
        if self._mailboxes.get(mailbox.name) is mailbox and self._is_unused(mailbox):
            del self._mailboxes[mailbox.name]

    def _is_unused(self, mailbox: Mailbox) -> bool:
        return not len(mailbox) and not mailbox.groups and mailbox not in self._receivers
