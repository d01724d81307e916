"""Calls, made on layers and on the model at the same time."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from fast_channels.exceptions import ChannelClosed
from fast_channels.layers import BaseChannelLayer
from fast_channels_testing.layers._capabilities import SUPPORTED, Capabilities
from fast_channels_testing.layers._layers import Layers, rounds
from fast_channels_testing.layers._oracle import Channel, Oracle, Receiver


@dataclass(frozen=True)
class Send:
    layer: int
    channel: Channel


@dataclass(frozen=True)
class GroupSend:
    layer: int
    group: str


@dataclass(frozen=True)
class Add:
    layer: int
    group: str
    channel: Channel


@dataclass(frozen=True)
class Discard:
    layer: int
    group: str
    channel: Channel


@dataclass(frozen=True)
class Receive:
    """Wait for a message; give up after so many rounds of the event loop, or never."""

    layer: int
    channel: Channel
    rounds: int | None


@dataclass(frozen=True)
class Cancel:
    """Cancel one of the calls of ``receive`` that wait, after some rounds of the event loop."""

    channel: Channel
    receiver: int
    rounds: int


@dataclass(frozen=True)
class Close:
    channel: Channel


Call = Send | GroupSend | Add | Discard | Receive | Cancel | Close


class Caller:
    """Makes the calls, and fails when a layer does not do what the model says."""

    def __init__(
        self,
        layers: Layers,
        made: Sequence[BaseChannelLayer],
        capabilities: Capabilities,
        prefix: str,
        groups: Iterable[str],
    ) -> None:
        self._soon = layers.soon
        self._layers: Final = made
        self._capabilities = capabilities
        self._prefix = prefix
        self._model = Oracle(len(made), groups)
        self._cancelled: list[tuple[Channel, Receiver]] = []

    @property
    def open_channels(self) -> list[Channel]:
        return self._model.open_channels

    def general_channels(self, *names: str) -> list[Channel]:
        if self._capabilities.general_channels != SUPPORTED:
            return []
        return [self._model.add_channel("general", self._name(name), None) for name in names]

    async def new_channel(self, layer: int, kind: str = "channel") -> Channel:
        layer %= len(self._layers)
        name = await self._soon(self._layers[layer].new_channel())
        return self._model.add_channel(kind, name, layer)

    async def call_in_turn(self, calls: Iterable[Call], *, settle: bool) -> None:
        """Make calls one after the other; then, if asked, see that everything arrives."""
        for call in calls:
            await self.call([call])
        if settle:
            await self.settle()

    async def call_at_once(self, calls: Sequence[Call], *, settle: bool) -> None:
        """Make calls at the same time; then, if asked, see that everything arrives."""
        await self.call(calls)
        if settle:
            await self.settle()

    async def call(self, calls: Sequence[Call]) -> None:
        """Make calls at the same time, and see that receivers get what there is for them."""
        calls = self._sensible(calls)
        model, members = self._model, self._model.members
        added = [call for call in calls if isinstance(call, Add)]
        discarded = [call for call in calls if isinstance(call, Discard)]
        closing = [call.channel for call in calls if isinstance(call, Close)]
        changing = [(it.group, it.channel) for it in added if it.channel not in members[it.group]]
        changing += [(it.group, it.channel) for it in discarded if it.channel in members[it.group]]
        model.begin_batch(changing, closing)
        await self._soon(_all_done([self._begin(call) for call in calls]), repr(calls))
        for add in added:
            model.join(add.group, add.channel)
        for discard in discarded:
            model.leave(discard.group, discard.channel)
            await self._see_that_it_left(discard)
        while self._cancelled:
            channel, receiver = self._cancelled.pop()
            channel.in_order &= len(channel.receivers) == 1 and channel.owner is not None
            await self._see_ended(channel, receiver)
        for channel in closing:
            await self._see_closed(channel)
        for channel in model.channels:
            self._accept(channel)

    async def close_layer(self, layer: int) -> None:
        """Close a layer; the next call opens it again."""
        layer %= len(self._layers)
        model = self._model
        generals = [channel for channel in model.channels if channel.owner is None]
        await self.call(
            [Discard(layer, group, channel) for group in model.members for channel in generals]
        )
        await self._soon(self._layers[layer].close())
        model.close_layer(layer)
        for channel in model.channels:
            for receiver in [it for it in channel.receivers if it[0] == layer]:
                await self._see_ended(channel, receiver)

    async def settle(self) -> None:
        """See that everything arrives that has to, and nothing else."""
        model = self._model
        # Behind what every layer sends now to a member on every layer, nothing that was sent to
        # the groups before can be on its way. So who joins then may not get any of it.
        senders = range(len(self._layers))
        witnesses = [await self.new_channel(layer, "witness") for layer in senders]
        await self._join_all(witnesses)
        await self._send_to_all()
        model.nothing_in_flight()
        added = await self._join_all(model.open_channels)
        await self._send_to_all()
        for channel in model.open_channels:
            channel.in_order = channel.owner is not None or len(self._layers) == 1
        await self.call([Discard(add.layer, add.group, add.channel) for add in added])
        await self.call([Close(witness) for witness in witnesses])

    async def _join_all(self, channels: Sequence[Channel]) -> list[Add]:
        """Add channels to all groups; a list of those that were in a group already not."""
        added = [
            Add(channel.owner, group, channel)
            for group, members in self._model.members.items()
            for channel in channels
            if channel.owner is not None and channel not in members
        ]
        await self.call(added)
        return added

    async def _send_to_all(self) -> None:
        """From every layer, to every group and channel, until it has arrived."""
        model, senders = self._model, range(len(self._layers))
        to_groups = [GroupSend(layer, group) for layer in senders for group in model.members]
        to_each = [Send(layer, channel) for layer in senders for channel in model.open_channels]
        await self.call([*to_groups, *to_each])
        for channel in model.open_channels:
            await self._receive_all(channel)

    async def end(self) -> None:
        """Give back everything."""
        receivers = [task for channel in self._model.channels for _, task in channel.receivers]
        for task in receivers:
            task.cancel()
        ended = asyncio.gather(*receivers, return_exceptions=True)
        await self._soon(ended, "the end of calls of receive() that were cancelled")
        for layer in self._layers:
            await self._soon(layer.close())

    def _sensible(self, calls: Sequence[Call]) -> list[Call]:
        """Without calls that a layer need not support, or whose outcome the model cannot tell."""
        count = len(self._layers)
        closing = {call.channel for call in calls if isinstance(call, Close)}
        sensible = dict[object, Call]()
        for number, call in enumerate(calls):
            match call:
                case Add(layer, _, channel) | Discard(layer, _, channel):
                    if channel.is_open and channel not in closing:
                        call = replace(call, layer=layer % count)
                        if self._may_change(call):
                            sensible.setdefault((call.group, channel), call)
                case Cancel(channel, receiver):
                    if channel.receivers:
                        receiver %= len(channel.receivers)
                        sensible.setdefault(channel, replace(call, receiver=receiver))
                case Close(channel):
                    if channel.owner is not None:
                        sensible[number] = call
                case _:
                    sensible[number] = replace(call, layer=call.layer % count)
        return list(sensible.values())

    def _may_change(self, call: Add | Discard) -> bool:
        if call.channel.owner is None:
            return self._capabilities.general_members == SUPPORTED
        return call.channel.owner == call.layer or self._capabilities.remote_members == SUPPORTED

    def _begin(self, call: Call) -> Coroutine[Any, Any, None]:
        model = self._model
        match call:
            case Send(number, channel):
                message = model.send(number, channel)
                return self._layers[number].send(channel.name, message)
            case GroupSend(number, group):
                message = model.group_send(number, group)
                return self._layers[number].group_send(self._name(group), message)
            case Add(number, group, channel):
                return self._layers[number].group_add(self._name(group), channel.name)
            case Discard(number, group, channel):
                return self._layers[number].group_discard(self._name(group), channel.name)
            case Receive(number, channel, rounds):
                if channel.is_open and channel.owner in (None, number):
                    return self._receive(number, channel, rounds)
                return self._see_refused(number, channel)
            case Cancel(channel, receiver, rounds):
                return self._cancel(channel, channel.receivers[receiver], rounds)
            case Close(channel):
                return self._layers[channel.owner or 0].close_channel(channel.name)

    async def _receive(self, layer: int, channel: Channel, rounds: int | None = None) -> None:
        channel.in_order &= channel.owner is not None or len(self._layers) == 1
        receiver = layer, asyncio.ensure_future(self._layers[layer].receive(channel.name))
        channel.receivers.append(receiver)
        if rounds is not None:
            await self._cancel(channel, receiver, rounds)

    async def _cancel(self, channel: Channel, receiver: Receiver, rounds_: int) -> None:
        await rounds(rounds_)
        receiver[1].cancel()
        self._cancelled.append((channel, receiver))

    async def _see_refused(self, layer: int, channel: Channel) -> None:
        try:
            message = await self._layers[layer].receive(channel.name)
        except ChannelClosed:
            return
        raise AssertionError(
            f"{channel} is not open on layer {layer}, and receive() returned {message} there "
            "instead of raising ChannelClosed"
        )

    async def _see_that_it_left(self, discard: Discard) -> None:
        """A process hears of it some time later that another one has removed its channel."""
        owner, group = discard.channel.owner, self._name(discard.group)
        if owner not in (None, discard.layer):
            # A later call of the same layer: once it is done, so is the earlier one.
            self._model.join(discard.group, discard.channel)
            await self._soon(self._layers[discard.layer].group_add(group, discard.channel.name))
            await self._soon(self._layers[owner].group_discard(group, discard.channel.name))
            self._model.leave(discard.group, discard.channel)

    async def _see_closed(self, channel: Channel) -> None:
        self._model.close_channel(channel)
        for receiver in tuple(channel.receivers):
            await self._see_ended(channel, receiver)

    async def _see_ended(self, channel: Channel, receiver: Receiver) -> None:
        """Wait for a receiver that was cancelled or whose channel was closed."""
        _, task = receiver
        what = f"the end of a receive() from {channel} that was cancelled, or its channel closed"
        await self._soon(asyncio.wait([task]), what)
        channel.receivers.remove(receiver)
        if task.cancelled() or isinstance(task.exception(), ChannelClosed):
            return
        channel.accept(task.result())

    def _accept(self, channel: Channel) -> None:
        """What the receivers of a channel have got."""
        done = [receiver for receiver in channel.receivers if receiver[1].done()]
        for receiver in done:
            channel.receivers.remove(receiver)
            channel.accept(receiver[1].result())

    async def _receive_all(self, channel: Channel) -> None:
        """Receive until everything has arrived that has to."""
        while channel.required:
            if not channel.receivers:
                await self._receive(channel.owner or 0, channel)
            receiving = [task for _, task in channel.receivers]
            # Of several that wait, the first is the first to get a message.
            first = receiving[:1] if channel.in_order else receiving
            await self._soon(
                asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED),
                f"one of the messages {channel.required} to {channel}",
            )
            self._accept(channel)

    def _name(self, name: str) -> str:
        return f"{self._prefix}.{name}"


async def _all_done(calls: Sequence[Coroutine[Any, Any, None]]) -> None:
    """All at the same time; no round of the event loop passes for a single one."""
    if len(calls) == 1:
        await calls[0]
        return
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
