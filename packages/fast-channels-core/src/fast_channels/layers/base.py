"""The contract of a channel layer."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from fast_channels.layers._capacity import CapacityRules, ChannelCapacity
from fast_channels.layers._names import require_channel_name, require_group_name
from fast_channels.types import Message

__all__ = ["BaseChannelLayer", "ChannelCapacity"]


class BaseChannelLayer(ABC):
    """Carries messages to channels and to groups of channels, between any of an application's
    tasks, threads, processes and machines, as far as the layer reaches.

    A **message** is a dict with a ``"type"`` string; its other values are str, bytes, int of 64
    bits, float, bool, None, and lists and dicts of these. What a layer cannot hand on as one of
    these it refuses. It never changes the message that it is given, and no two receivers share a
    mutable value.

    A **channel** is a mailbox with a name. ``prefix.node!id`` is *specific*: the process that
    called :meth:`new_channel` receives from it. A name without ``!`` is *general*: any process
    may receive from it, and each message goes to exactly one receiver. Every method raises
    :class:`InvalidNameError` for a name that is not valid.

    What every layer promises:

    - At most once: a message arrives once or not at all, unless a layer documents more.
    - Order: what one sender sends to one channel, or to one group, arrives in that order.
      Between a direct send and a group send there is no order.
    - When :meth:`group_add` has returned, every later :meth:`group_send`, from any process,
      reaches the new member.
    - A message that has waited longer than ``expiry`` is not delivered.
    - A member is never taken out of a group while its process lives and runs.

    What none promises: that a message arrives. A channel may be gone, a member full, a process
    killed. Cancelling a call leaves the layer consistent: a cancelled :meth:`receive` loses no
    message, a cancelled send was sent or was not.

    Every method may be called from any event loop and thread that the layer documents, and is
    named and shaped as the channel-layer specification of Django Channels has it, so a layer
    also serves as the ``BACKEND`` of a Django project.

    The constructor keeps the three options that all layers share. ``expiry``: seconds.
    ``capacity``: messages that wait in one channel. ``channel_capacity``: exceptions to it, by
    glob or compiled regular expression; the first that matches decides.
    """

    extensions: ClassVar[Sequence[str]] = ("groups", "flush")
    """Optional parts of the specification that the layer has."""

    def __init__(
        self,
        *,
        expiry: float = 60,
        capacity: int = 100,
        channel_capacity: ChannelCapacity | None = None,
    ) -> None:
        if isinstance(expiry, bool) or not isinstance(expiry, int | float) or not expiry > 0:  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            raise ValueError(f"expiry is {expiry!r}, expected a number of seconds above 0")
        self.expiry = expiry
        self.capacity = capacity
        self.channel_capacity = channel_capacity
        self._capacity_rules = CapacityRules(capacity, channel_capacity)

    @abstractmethod
    async def send(self, channel: str, message: Mapping[str, Any]) -> None:
        """Send one message to one channel.

        Returns when the layer has taken charge of the message, not when it was received. A
        message to a specific channel that is closed is dropped and counted.

        Raises :class:`ChannelFull` when the channel holds its capacity already,
        :class:`InvalidMessageError` for a message that the layer cannot carry,
        :class:`MessageTooLarge`, :class:`InvalidNameError`, and
        :class:`ChannelLayerUnavailable` when a broker stayed away.
        """

    @abstractmethod
    async def receive(self, channel: str) -> Message:
        """Wait for the next message of a channel and take it.

        Several receivers of one channel get one message each, in the order of their calls as
        long as none is cancelled. Raises :class:`ChannelClosed` for a specific channel that is
        not open here, also when it closes during the call. Never raises because a broker is
        away: it waits.
        """

    @abstractmethod
    async def new_channel(self, prefix: str = "specific") -> str:
        """Open a channel of this process and return its name, which no other channel ever has.

        The name begins with ``prefix``: 1 to 40 ASCII letters, digits, hyphens, underscores or
        periods. Any other prefix raises :class:`InvalidNameError`.

        The caller owns it and calls :meth:`close_channel` in the end. In a process that has
        loaded Django Channels, whose consumers never do that, the channel also ends when the very
        string that was returned is no longer in use; a copy of it does not keep the channel open.
        """

    @abstractmethod
    async def close_channel(self, channel: str) -> None:
        """Leave every group that the channel is in, drop what waits in it and forget it.

        Local and immediate; closing twice, or a channel that is not open, does nothing.
        """

    @abstractmethod
    async def group_add(self, group: str, channel: str) -> None:
        """Add a channel to a group. Adding twice is adding once, adding a closed one does nothing.

        Returns when every later :meth:`group_send`, from any process, reaches the channel.
        Raises :class:`InvalidNameError`, :class:`TooManyGroups` for the channel of a consumer with
        such a limit, and :class:`ChannelLayerUnavailable` when a broker that must know stayed away.
        """

    @abstractmethod
    async def group_discard(self, group: str, channel: str) -> None:
        """Remove a channel from a group. A channel that is no member may be removed, too.

        Local and immediate for a channel of this process. Raises :class:`InvalidNameError`.
        """

    @abstractmethod
    async def group_send(self, group: str, message: Mapping[str, Any]) -> None:
        """Send one message to every member of a group, also across processes.

        A group that nobody is in takes messages and drops them. A member whose channel is full
        misses this message, which is counted and logged; the others get it. Raises as
        :meth:`send` does, but never :class:`ChannelFull`.
        """

    @abstractmethod
    async def flush(self) -> None:
        """Drop every message and every group of this layer, in all processes: for tests."""

    @abstractmethod
    async def close(self) -> None:
        """Give back every resource of the calling event loop. Closing twice does nothing.

        Channels that are open here are closed, and with them the connections of this loop's
        consumers (1012). Using the layer again opens it again.
        """

    def get_capacity(self, channel: str) -> int:
        """How many messages may wait in this channel."""
        return self._capacity_rules(channel)

    @staticmethod
    def require_valid_channel_name(name: str) -> None:
        """Raises :class:`InvalidNameError` unless ``name`` is 1 to 99 ASCII letters, digits,
        hyphens, underscores or periods, with at most one ``!``, which is not the first of them."""
        require_channel_name(name)

    @staticmethod
    def require_valid_group_name(name: str) -> None:
        """Raises :class:`InvalidNameError` unless ``name`` is 1 to 99 ASCII letters, digits,
        hyphens, underscores or periods. See :func:`fast_channels.layers.group_name`."""
        require_group_name(name)
