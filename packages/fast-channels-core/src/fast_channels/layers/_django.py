"""What Django Channels and the projects that use it need of a layer beyond its specification.

All of this applies only in processes that have loaded Django Channels.
"""

import asyncio
import sys
import weakref
from collections.abc import Callable

from fast_channels.exceptions import ChannelFull
from fast_channels.layers._mailbox import Mailbox
from fast_channels.layers._names import OwnedName


def owned_name(
    mailbox: Mailbox, loop: asyncio.AbstractEventLoop, close: Callable[[str], object]
) -> str:
    """The name of a channel for the caller of ``new_channel``.

    The consumers of Django Channels open a channel, receive from it and go: they know no
    ``close_channel``. All that tells their end is that nobody has the name any more. Then
    ``close`` is called with a copy of it, in the loop.
    """
    plain = mailbox.name
    if "channels.consumer" not in sys.modules:
        return plain

    def abandoned(_: object) -> None:
        # In whichever thread collects garbage, and in the middle of anything.
        try:
            loop.call_soon_threadsafe(close, plain)
        except RuntimeError:
            pass  # The loop has ended.

    name = OwnedName(plain)
    mailbox.owner = weakref.ref(name, abandoned)
    return name


def channel_full(channel: str) -> ChannelFull:
    """What to raise: also an instance of Django Channels' own ``ChannelFull``, if that may be
    what the caller catches."""
    theirs = getattr(sys.modules.get("channels.exceptions"), "ChannelFull", None)
    if not (isinstance(theirs, type) and issubclass(theirs, Exception)):
        return ChannelFull(channel)
    if theirs not in _of_both:
        _of_both[theirs] = _make_both(theirs)
    return _of_both[theirs](channel)


_of_both: dict[type[Exception], type[ChannelFull]] = {}


def _make_both(theirs: type[Exception]) -> type[ChannelFull]:
    def reduce(self: ChannelFull) -> tuple[type[ChannelFull], tuple[str]]:
        return ChannelFull, (self.channel,)

    names = {"__module__": ChannelFull.__module__, "__reduce__": reduce}
    return type(ChannelFull.__name__, (ChannelFull, theirs), names)
