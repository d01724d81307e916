"""What a test's application has sent to its channel layers, and assertions about it.

The fixtures ``captured_messages``, ``assert_sent`` and ``assert_not_sent`` of the pytest plugin
give these; the names here are for annotations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, overload

from fast_channels.types import Message
from fast_channels_testing._wanted import Wanted, render

__all__ = ["AssertNotSent", "AssertSent", "CapturedMessage", "CapturedMessages"]

_SHOWN = 40
_NOTHING = "nothing was sent to a registered layer; still on its way? `await communicator.settle()`"


@dataclass(frozen=True)
class CapturedMessage:
    """One message on its way to a group or to a channel."""

    aliases: tuple[str, ...]
    """By what the layer that took it was registered: one alias, or several."""

    group: str | None
    """The group that it was sent to; None if it was sent to a channel."""

    channel: str | None
    """The channel that it was sent to; None if it was sent to a group."""

    message: Message
    """A copy, made when it was sent."""

    def __str__(self) -> str:
        target = f"channel {self.channel!r}" if self.group is None else f"group {self.group!r}"
        layer = " and ".join(map(repr, self.aliases))
        return f"to {target} of {layer}: {render(self.message)}"


class CapturedMessages(Sequence[CapturedMessage]):
    """Every message that a registered layer took during the test, in the order of sending.

    Only what was sent through a registered layer is here, and nothing that a layer refused. A
    message that was sent in vain, to an empty group or a full member, was sent.
    """

    def __init__(self, messages: Sequence[CapturedMessage] = ()) -> None:
        self._messages = messages

    @overload
    def __getitem__(self, index: int) -> CapturedMessage: ...
    @overload
    def __getitem__(self, index: slice) -> "CapturedMessages": ...
    def __getitem__(self, index: int | slice) -> "CapturedMessage | CapturedMessages":
        if isinstance(index, slice):
            return CapturedMessages(self._messages[index])
        return self._messages[index]

    def __len__(self) -> int:
        return len(self._messages)

    def matching(
        self,
        group: str | None = None,
        message: Mapping[str, Any] | None = None,
        /,
        *,
        channel: str | None = None,
        alias: str | None = None,
        **fields: Any,
    ) -> "CapturedMessages":
        """Those that :meth:`assert_sent` would accept."""
        wanted = Wanted(group, channel, alias, {**(message or {}), **fields})
        return CapturedMessages([each for each in self if wanted.is_met_by(each)])

    def assert_sent(
        self,
        group: str | None = None,
        message: Mapping[str, Any] | None = None,
        /,
        *,
        channel: str | None = None,
        alias: str | None = None,
        **fields: Any,
    ) -> Message:
        """The first message that was sent to this group, or this channel, with these fields.

        A message may have more fields than those that are given. Those whose names are taken,
        such as ``channel``, go into the mapping ``message``. What is not given may be anything;
        ``alias`` is that of the layer, any one of a layer that has several.

        Raises :class:`AssertionError`, which lists what was sent instead.
        """
        __tracebackhide__ = True
        wanted = Wanted(group, channel, alias, {**(message or {}), **fields})
        for each in self:
            if wanted.is_met_by(each):
                return each.message
        raise AssertionError(f"not sent: {wanted}\n{self._instead(wanted)}")

    def assert_not_sent(
        self,
        group: str | None = None,
        message: Mapping[str, Any] | None = None,
        /,
        *,
        channel: str | None = None,
        alias: str | None = None,
        **fields: Any,
    ) -> None:
        """Raises :class:`AssertionError` if :meth:`assert_sent` would find a message."""
        __tracebackhide__ = True
        wanted = Wanted(group, channel, alias, {**(message or {}), **fields})
        for number, each in enumerate(self, 1):
            if wanted.is_met_by(each):
                raise AssertionError(f"sent: {wanted}\nit is number {number} of\n{self}")

    def _instead(self, wanted: Wanted) -> str:
        if not self:
            return _NOTHING
        number, nearest = wanted.nearest(self)
        differences = "\n".join(f"    {line}" for line in wanted.differences(nearest))
        return f"the nearest is number {number + 1}:\n{differences}\n{self}"

    def __str__(self) -> str:
        if not self:
            return "no messages"
        shown = list(enumerate(self, 1))[-_SHOWN:]
        lines = [f"{len(self)} sent during the test:"]
        if len(self) > _SHOWN:
            lines.append(f"  ({len(self) - _SHOWN} earlier ones left out)")
        return "\n".join([*lines, *(f"  {number}. {each}" for number, each in shown)])

    def __repr__(self) -> str:
        return f"<CapturedMessages: {len(self)}>"


class AssertSent(Protocol):
    """The type of the fixture ``assert_sent``: see :meth:`CapturedMessages.assert_sent`."""

    def __call__(
        self,
        group: str | None = None,
        message: Mapping[str, Any] | None = None,
        /,
        *,
        channel: str | None = None,
        alias: str | None = None,
        **fields: Any,
    ) -> Message:
        """The first message that matches."""
        ...


class AssertNotSent(Protocol):
    """The type of the fixture ``assert_not_sent``."""

    def __call__(
        self,
        group: str | None = None,
        message: Mapping[str, Any] | None = None,
        /,
        *,
        channel: str | None = None,
        alias: str | None = None,
        **fields: Any,
    ) -> None:
        """Raises :class:`AssertionError` if a message matches."""
        ...
