"""The in-memory layer with one bug each, as authors of layers write them."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from fast_channels.exceptions import ChannelClosed, ChannelFull
from fast_channels.layers import InMemoryChannelLayer
from fast_channels.layers._local import LocalTable
from fast_channels.layers._names import is_specific
from fast_channels.types import Message


class LosesOnCancel(InMemoryChannelLayer):
    """Takes the message, and then awaits something."""

    async def receive(self, channel: str) -> Message:
        message = await super().receive(channel)
        await asyncio.sleep(0)
        return message


class Duplicates(InMemoryChannelLayer):
    async def send(self, channel: str, message: Mapping[str, Any]) -> None:
        for _ in range(2):
            await super().send(channel, message)


class Reorders(InMemoryChannelLayer):
    """Whoever receives takes the youngest of two."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._kept: dict[str, Message] = {}

    async def receive(self, channel: str) -> Message:
        if channel in self._kept:
            return self._kept.pop(channel)
        message = await super().receive(channel)
        mailbox = self._table.channels.get(channel)
        if mailbox is not None and len(mailbox):
            self._kept[channel] = message
            message = await super().receive(channel)
        return message


class LeaksOnDiscard(InMemoryChannelLayer):
    """The member stays."""

    async def group_discard(self, group: str, channel: str) -> None:
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)


class ForgetsTheGroupOnDiscard(InMemoryChannelLayer):
    """All members go with the first."""

    async def group_discard(self, group: str, channel: str) -> None:
        for mailbox in tuple(self._table.members(group)):
            await super().group_discard(group, mailbox.name)


class DeliversToAll(InMemoryChannelLayer):
    """Everybody who waits in a general channel gets the message."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._waiting = Counter[str]()

    async def receive(self, channel: str) -> Message:
        self._waiting[channel] += 1
        try:
            return await super().receive(channel)
        finally:
            self._waiting[channel] -= 1

    async def send(self, channel: str, message: Mapping[str, Any]) -> None:
        receivers = 1 if is_specific(channel) else max(1, self._waiting[channel])
        for _ in range(receivers):
            await super().send(channel, message)


class IgnoresCapacity(InMemoryChannelLayer):
    def __init__(self, **options: Any) -> None:
        options.update(capacity=10**6, channel_capacity=None)
        super().__init__(**options)


class IgnoresExpiry(InMemoryChannelLayer):
    def __init__(self, **options: Any) -> None:
        options.update(expiry=10**6)
        super().__init__(**options)


class Aliases(InMemoryChannelLayer):
    """All receivers get one and the same dict."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._messages: dict[str, Message] = {}

    async def receive(self, channel: str) -> Message:
        message = await super().receive(channel)
        return self._messages.setdefault(repr(message), message)


class MutatesTheSendersDict(InMemoryChannelLayer):
    async def send(self, channel: str, message: Mapping[str, Any]) -> None:
        if isinstance(message, dict):
            message["sent_to"] = channel
        await super().send(channel, message)

    async def receive(self, channel: str) -> Message:
        message = await super().receive(channel)
        message.pop("sent_to", None)
        return message


class LateBarrier(InMemoryChannelLayer):
    """``group_add`` returns before the channel is a member."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._joining = set[asyncio.Task[None]]()

    async def group_add(self, group: str, channel: str) -> None:
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        task = asyncio.ensure_future(super().group_add(group, channel))
        self._joining.add(task)
        task.add_done_callback(self._joining.discard)

    async def close(self) -> None:
        if self._joining:
            await asyncio.wait(self._joining)
        await super().close()


class BlocksOnAFullMember(InMemoryChannelLayer):
    """``group_send`` waits until everybody has room."""

    async def group_send(self, group: str, message: Mapping[str, Any]) -> None:
        while any(len(it) >= it.limit for it in self._table.members(group)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await super().group_send(group, message)


class StopsAtAFullMember(InMemoryChannelLayer):
    """Those who joined after a full member miss what it misses."""

    async def group_send(self, group: str, message: Mapping[str, Any]) -> None:
        self.require_valid_group_name(group)
        for member in tuple(self._table.members(group)):
            try:
                await self.send(member.name, message)
            except ChannelFull:
                return


class LeaksTasksOnClose(InMemoryChannelLayer):
    """Nobody stops what cleans up now and then."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._cleaning: asyncio.Task[bool] | None = None

    async def new_channel(self, prefix: str = "specific") -> str:
        if self._cleaning is None:
            self._cleaning = asyncio.ensure_future(asyncio.Event().wait())
        return await super().new_channel(prefix)


class ClosesOnce(InMemoryChannelLayer):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._closed = False

    async def close(self) -> None:
        if self._closed:
            raise RuntimeError("the layer is closed")
        self._closed = True
        await super().close()


class StaysClosed(InMemoryChannelLayer):
    """Cannot be used again."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._closed = False

    async def new_channel(self, prefix: str = "specific") -> str:
        if self._closed:
            raise RuntimeError("the layer is closed")
        return await super().new_channel(prefix)

    async def close(self) -> None:
        self._closed = True
        await super().close()


class HangsAfterClose(InMemoryChannelLayer):
    """Who receives from a closed channel waits for ever."""

    async def receive(self, channel: str) -> Message:
        try:
            return await super().receive(channel)
        except ChannelClosed:
            await asyncio.Event().wait()
            raise


class RepeatsNames(InMemoryChannelLayer):
    """The name of a closed channel is given to the next one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._table = _ReusingTable()


class _ReusingTable(LocalTable):
    def new_name(self, prefix: str) -> str:
        numbers = (f"{prefix}.{self.node_id}!{number}" for number in range(len(self.channels) + 1))
        return next(name for name in numbers if name not in self.channels)


class TurnsBytesIntoText(InMemoryChannelLayer):
    async def receive(self, channel: str) -> Message:
        message = await super().receive(channel)
        return {key: _as_text(value) for key, value in message.items()}


def _as_text(value: Any) -> Any:
    return value.decode("latin-1") if isinstance(value, bytes) else value


class RoundsIntegers(InMemoryChannelLayer):
    """As JavaScript does above 2**53."""

    async def receive(self, channel: str) -> Message:
        message = await super().receive(channel)
        return {key: _rounded(value) for key, value in message.items()}


def _rounded(value: Any) -> Any:
    return int(float(value)) if type(value) is int else value


class CountsAdds(InMemoryChannelLayer):
    """Who was added twice gets everything twice."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._adds: defaultdict[str, Counter[str]] = defaultdict(Counter)

    async def group_add(self, group: str, channel: str) -> None:
        await super().group_add(group, channel)
        self._adds[group][channel] += 1

    async def group_discard(self, group: str, channel: str) -> None:
        await super().group_discard(group, channel)
        self._adds[group][channel] = 0

    async def group_send(self, group: str, message: Mapping[str, Any]) -> None:
        await super().group_send(group, message)
        for channel, count in self._adds[group].items():
            for _ in range(count - 1):
                await self.send(channel, message)


class NeedsAMember(InMemoryChannelLayer):
    """Removing a stranger is an error."""

    async def group_discard(self, group: str, channel: str) -> None:
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        if channel not in [member.name for member in self._table.members(group)]:
            raise KeyError(channel)
        await super().group_discard(group, channel)


class IgnoresCase(InMemoryChannelLayer):
    """Two groups are one if their names differ in case."""

    async def group_add(self, group: str, channel: str) -> None:
        self.require_valid_group_name(group)
        await super().group_add(group.lower(), channel)

    async def group_discard(self, group: str, channel: str) -> None:
        self.require_valid_group_name(group)
        await super().group_discard(group.lower(), channel)

    async def group_send(self, group: str, message: Mapping[str, Any]) -> None:
        self.require_valid_group_name(group)
        await super().group_send(group.lower(), message)


class TakesAnyName(InMemoryChannelLayer):
    """Bad names are made good ones."""

    async def group_send(self, group: str, message: Mapping[str, Any]) -> None:
        good = "".join(letter for letter in str(group) if letter.isalnum())
        await super().group_send(good[:99] or "group", message)


class KeepsTheClosed(InMemoryChannelLayer):
    """A channel that is closed can still be received from."""

    async def close_channel(self, channel: str) -> None:
        self.require_valid_channel_name(channel)


class RemembersTheClosed(InMemoryChannelLayer):
    """Something stays of every channel."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._closed: list[str] = []

    async def close_channel(self, channel: str) -> None:
        await super().close_channel(channel)
        self._closed.append(f"closed: {channel}")


class FansOutInTasks(InMemoryChannelLayer):
    """Each member is sent to when the event loop comes to it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._sending = set[asyncio.Task[None]]()

    async def group_send(self, group: str, message: Mapping[str, Any]) -> None:
        self.require_valid_group_name(group)
        for index, member in enumerate(tuple(self._table.members(group))):
            task = asyncio.ensure_future(self._send_later(member.name, message, index))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _send_later(self, channel: str, message: Mapping[str, Any], rounds: int) -> None:
        for _ in range(rounds):
            await asyncio.sleep(0)
        try:
            await self.send(channel, message)
        except ChannelFull:
            pass

    async def close(self) -> None:
        if self._sending:
            await asyncio.wait(self._sending)
        await super().close()
