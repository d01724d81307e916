"""What is open in a layer: no question for an application to ask, so no layer answers it."""

# pyright: reportPrivateUsage=false

import asyncio
import gc
from collections.abc import Iterator

from fast_channels.layers import BaseChannelLayer, BrokerChannelLayer, InMemoryChannelLayer


def open_channels(
    layer: BaseChannelLayer, loop: asyncio.AbstractEventLoop | None
) -> Iterator[tuple[str, list[str]]]:
    """The channels that one event loop, or any, has open, each with its groups.

    Among them general channels that are in a group, but none whose owner is gone: the layer closes
    these itself. Nothing of layers that are neither in memory nor derived from
    :class:`BrokerChannelLayer`.
    """
    if isinstance(layer, InMemoryChannelLayer):
        mailboxes = list(layer._table.channels.copy().values())
        mailboxes += [mailbox for mailbox in layer._general if mailbox.groups]
    elif isinstance(layer, BrokerChannelLayer):
        mailboxes = [
            mailbox
            for owner, node in layer._nodes.copy().items()
            if (not owner.is_closed() if loop is None else owner is loop)
            for mailbox in node.table.channels.copy().values()
        ]
    else:
        mailboxes = []
    if any(mailbox.owner is not None for mailbox in mailboxes):
        # The owner may be garbage, such as a consumer of Django Channels that keeps an exception.
        gc.collect()
    for mailbox in mailboxes:
        if mailbox.owner is not None and mailbox.owner() is None:
            continue
        yield mailbox.name, sorted(mailbox.groups or ())


def loops_of(layer: BaseChannelLayer) -> list[asyncio.AbstractEventLoop]:
    """The event loops that a layer has a connection in."""
    return list(layer._nodes.copy()) if isinstance(layer, BrokerChannelLayer) else []
