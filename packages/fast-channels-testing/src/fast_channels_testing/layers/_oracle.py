"""What has to arrive, according to a model: groups are sets of channels, channels are queues."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from fast_channels.types import Message

Sender = tuple[int, int, str]
"""A layer, how often it was closed before, and the way: a group, or "" for a direct send. What one
sender sends arrives in order; between two senders there is none."""


Receiver = tuple[int, asyncio.Future[Message]]
"""A layer, and a call of its ``receive`` that has not been looked at."""


@dataclass(eq=False, slots=True)
class Sent:
    """A message on its way to one channel."""

    number: int
    batch: int
    """Messages of one batch were sent at the same time, in no order."""
    required: bool
    """False if it may arrive or not: the channel has left the group meanwhile, for example."""


@dataclass(eq=False)
class Channel:
    """What the model knows of one channel."""

    label: str
    name: str
    owner: int | None
    """The layer that opened it; None for a general channel."""
    is_open: bool = True
    waiting: dict[Sender, list[Sent]] = field(default_factory=dict[Sender, list[Sent]])
    received: list[int] = field(default_factory=list[int])
    receivers: list[Receiver] = field(default_factory=list[Receiver])
    """In the order of their calls."""
    in_order: bool = True
    """False after several receivers of which one was cancelled, or on several layers."""

    def __repr__(self) -> str:
        return self.label

    @property
    def required(self) -> list[int]:
        """The messages that have to arrive."""
        return sorted(
            sent.number for queue in self.waiting.values() for sent in queue if sent.required
        )

    def knows(self, number: int) -> bool:
        """Whether a message was received, or is on its way."""
        waiting = [sent.number for queue in self.waiting.values() for sent in queue]
        return number in waiting or number in self.received

    def expect(self, sender: Sender, number: int, batch: int, *, required: bool) -> None:
        self.waiting.setdefault(sender, []).append(Sent(number, batch, required))

    def release(self, *, layer: int | None = None, group: str | None = None) -> None:
        """What is on its way, from a layer or by a group, need not arrive any more."""
        for sender, queue in self.waiting.items():
            if layer in (None, sender[0]) and group in (None, sender[2]):
                for sent in queue:
                    sent.required = False

    def accept(self, message: Message) -> None:
        """Fail unless this message may arrive now."""
        number = message.get("number")
        assert isinstance(number, int), f"{self} got {message}, which nobody sent"
        assert message == _message(number), f"{self} got {message} instead of {_message(number)}"
        for sender, queue in self.waiting.items():
            for sent in queue:
                if sent.number == number:
                    self._take(sender, sent)
                    self.received.append(number)
                    return
        how = "a second time" if number in self.received else "which was not sent to it"
        raise AssertionError(f"{self} got message {number}, {how}; expected {self.required}")

    def _take(self, sender: Sender, sent: Sent) -> None:
        queue = self.waiting[sender]
        if self.in_order:
            earlier = [other for other in queue if other.batch < sent.batch]
            missed = [other.number for other in earlier if other.required]
            way = f"through {sender[2]!r}" if sender[2] else "to it"
            assert not missed, (
                f"{self} got message {sent.number}, but not yet {missed}, which the same layer "
                f"had sent {way} before"
            )
            queue[:] = [other for other in queue if other.batch >= sent.batch]
        queue.remove(sent)


class Oracle:
    """Channels, groups and numbered messages; it calls no layer and waits for nothing."""

    def __init__(self, layers: int, groups: Iterable[str]) -> None:
        self.channels: list[Channel] = []
        self.members: dict[str, set[Channel]] = {group: set() for group in groups}
        self._closed = [0] * layers
        self._number = 0
        self._batch = 0
        self._changing: dict[str, set[Channel]] = {}
        self._closing: set[Channel] = set()
        self._in_flight: list[tuple[Sender, int, int]] = []
        """Group messages that who joins now may get as well: sender, number, batch."""

    @property
    def open_channels(self) -> list[Channel]:
        return [channel for channel in self.channels if channel.is_open]

    def add_channel(self, kind: str, name: str, owner: int | None) -> Channel:
        assert name not in [channel.name for channel in self.channels], (
            f"new_channel() returned {name!r} for the second time"
        )
        channel = Channel(f"{kind}_{len(self.channels)}", name, owner)
        self.channels.append(channel)
        return channel

    def begin_batch(
        self, changing: Iterable[tuple[str, Channel]], closing: Iterable[Channel]
    ) -> None:
        """The next messages are sent while these memberships change and these channels close."""
        self._batch += 1
        self._changing = defaultdict(set)
        for group, channel in changing:
            self._changing[group].add(channel)
        self._closing = set(closing)

    def send(self, layer: int, channel: Channel) -> Message:
        """The message that the channel has to get."""
        self._number += 1
        if channel.is_open:
            required = channel not in self._closing
            self._expect(channel, layer, "", required=required)
        return _message(self._number)

    def group_send(self, layer: int, group: str) -> Message:
        """The message that every member has to get."""
        self._number += 1
        members, changing = self.members[group], self._changing.get(group, set())
        sender = (layer, self._closed[layer], group)
        self._in_flight.append((sender, self._number, self._batch))
        for channel in members | changing:
            required = channel in members and channel not in changing | self._closing
            self._expect(channel, layer, group, required=required)
        return _message(self._number)

    def _expect(self, channel: Channel, layer: int, way: str, *, required: bool) -> None:
        sender = (layer, self._closed[layer], way)
        channel.expect(sender, self._number, self._batch, required=required)

    def join(self, group: str, channel: Channel) -> None:
        if channel not in self.members[group]:
            self.members[group].add(channel)
            for sender, number, batch in self._in_flight:
                if sender[2] == group and not channel.knows(number):
                    channel.expect(sender, number, batch, required=False)

    def leave(self, group: str, channel: Channel) -> None:
        if channel in self.members[group]:
            self.members[group].discard(channel)
            channel.release(group=group)

    def close_channel(self, channel: Channel) -> None:
        if channel.owner is not None:
            channel.is_open = False
            channel.release()
            for members in self.members.values():
                members.discard(channel)

    def close_layer(self, layer: int) -> None:
        """Its channels are closed, and what it had sent may have gone with its connection."""
        for channel in self.open_channels:
            if channel.owner == layer:
                self.close_channel(channel)
            channel.release(layer=layer)
            if channel.owner is None and layer in [receiver for receiver, _ in channel.receivers]:
                channel.release()
        self._closed[layer] += 1

    def nothing_in_flight(self) -> None:
        """A member on every layer has got what every layer sent last to every group.

        That tells nothing of what a layer sent before it was closed.
        """
        self._in_flight = [
            sent for sent in self._in_flight if sent[0][1] < self._closed[sent[0][0]]
        ]


def _message(number: int) -> Message:
    return {"type": "model", "number": number}
