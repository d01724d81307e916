"""`FaultyChannelLayer`: a layer that loses, doubles, delays and refuses messages, on purpose."""

import asyncio
import os
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, Final

from fast_channels.exceptions import ChannelFull, ChannelLayerUnavailable
from fast_channels.layers import BaseChannelLayer
from fast_channels.layers.wrapper import ChannelLayerWrapper, Outlet, Tap
from fast_channels.types import Message
from fast_channels_testing._fault_plan import (
    Fault,
    FaultKind,
    FaultPlan,
    InjectedKind,
    Operation,
)
from fast_channels_testing._fault_way import Way

__all__ = ["Fault", "FaultKind", "FaultyChannelLayer", "InjectedKind"]

SEED_VARIABLE: Final = "FAST_CHANNELS_FAULT_SEED"


class FaultyChannelLayer(ChannelLayerWrapper):
    """Wraps a layer for tests of what an application makes of "at most once".

    ::

        layer = FaultyChannelLayer(InMemoryChannelLayer(), seed=7, drop=0.1, reorder=0.2)
        register_channel_layer("default", layer)

    With no chance given and nothing injected it does what the layer does that it wraps: one in
    memory, of Redis, or any other that derives from ``BrokerChannelLayer``.

    Faults happen to deliveries, so that one member of a group may miss what the others get. Each
    of these is the probability with which it happens to a delivery; at most one of them does:

    - ``drop``: the message does not arrive.
    - ``duplicate``: it arrives twice.
    - ``reorder``: the next message to the channel overtakes it. If none comes within
      ``patience`` seconds, it arrives as it is.
    - ``full``: the channel refuses it as if it held its capacity. A sender sees ``ChannelFull``
      where the layer would raise it, a member of a group misses the message, and a consumer's
      ``overflow`` does what it says.

    ``delay``: seconds that every delivery takes, or the least and the most of them. It changes
    no order. ``disconnect``: the probability that ``send``, ``group_send`` or ``group_add`` finds
    the connection to the broker broken. The call has done nothing and raises
    ``ChannelLayerUnavailable``, what is on the way is lost, and every consumer gets a
    ``layer.gap`` event.

    A message to a general channel is its own delivery: dropped, doubled or refused as it is
    sent. ``delay`` and ``reorder`` make the call last longer, so that another sender may overtake.

    The same ``seed`` and the same calls have the same faults: every channel, numbered in the order
    of opening, and every kind of call for every name has random numbers of its own, so neither
    other channels nor time have an influence. Without ``seed`` it comes from the environment
    variable ``FAST_CHANNELS_FAULT_SEED``, and is 0 without that.

    Delayed messages wait for timers of the event loop that opened the channel. They end with the
    channel; no task is ever started. Raises :class:`ValueError` for what is no probability, and
    :class:`TypeError` for a layer that cannot be wrapped.
    """

    def __init__(
        self,
        inner: BaseChannelLayer,
        *,
        seed: int | None = None,
        drop: float = 0,
        duplicate: float = 0,
        reorder: float = 0,
        full: float = 0,
        disconnect: float = 0,
        delay: float | tuple[float, float] = 0,
        patience: float = 0.1,
    ) -> None:
        super().__init__(inner)
        if not patience > 0:
            raise ValueError(f"patience is {patience!r}, expected seconds above 0")
        self.seed: int = _seed_of_the_run() if seed is None else seed
        """What all chances follow from."""
        self._chances: dict[FaultKind, float] = {
            "drop": drop,
            "duplicate": duplicate,
            "reorder": reorder,
            "full": full,
            "disconnect": disconnect,
        }
        self._delay = delay if isinstance(delay, tuple) else (delay, delay)
        self._patience = patience
        self._plan = FaultPlan(self.seed, self._chances, self._delay)
        self._ways: dict[str, Way] = {}
        self._opened: Counter[str] = Counter()
        self._outages = 0
        self._filled: Counter[str | None] = Counter()
        self._stalled: Counter[str | None] = Counter()

    @property
    def faults(self) -> Sequence[Fault]:
        """What was done so far, in that order."""
        return tuple(self._plan.faults)

    @property
    def channels(self) -> Sequence[str]:
        """The channels that were opened here and are not closed, in the order of opening."""
        return tuple(self._ways)

    # What a test says.

    def inject(
        self,
        kind: InjectedKind,
        *,
        times: int = 1,
        to: str | None = None,
        type: str | None = None,
    ) -> None:
        """Make this happen to the next delivery, or the next ``times`` deliveries.

        With ``"disconnect"``, to the next call of ``send``, ``group_send`` or ``group_add``.
        ``to``: only to this channel, or for a call, to this channel or group. ``type``: only to
        messages of this type.
        """
        with self._plan.lock:
            self._plan.inject(kind, times, to, type)

    @contextmanager
    def disconnected(self) -> Generator[None]:
        """Let the broker be away: calls that need it raise ``ChannelLayerUnavailable`` at once.

        What is on the way is lost, and so is what others send by :attr:`inner` meanwhile, as
        another process would. ``receive`` goes on. In the end every consumer gets one
        ``layer.gap`` event.
        """
        with self._plan.lock:
            self._outages += 1
            self._lose_all()
        try:
            yield
        finally:
            with self._plan.lock:
                self._outages -= 1
                if not self._outages:
                    self._reconnect_all()

    @contextmanager
    def filled(self, channel: str | None = None) -> Generator[None]:
        """Let this channel, or every one, refuse what is sent to it, as if it held its capacity."""
        with self._counted(self._filled, channel):
            yield

    @contextmanager
    def stalled(self, channel: str | None = None) -> Generator[None]:
        """Let nothing arrive at this channel, or at any that was opened here; in the end all of it
        arrives, in order. Messages to general channels are not held up."""
        try:
            with self._counted(self._stalled, channel):
                yield
        finally:
            with self._plan.lock:
                for way in self._ways.values():
                    way.resume()

    @contextmanager
    def _counted(self, states: Counter[str | None], channel: str | None) -> Generator[None]:
        with self._plan.lock:
            states[channel] += 1
        try:
            yield
        finally:
            with self._plan.lock:
                states[channel] -= 1

    # The calls of a layer.

    async def send(self, channel: str, message: Mapping[str, Any]) -> None:
        self.require_valid_channel_name(channel)
        self._call("send", channel, message)
        if "!" in channel:
            await self.inner.send(channel, message)
            return
        with self._plan.lock:
            always: FaultKind | None = "full" if self._is_filled(channel) else None
            verdict = self._plan.delivery(channel, channel, lambda: _copy(message) or {}, always)
        if verdict.kind == "drop":
            return
        if verdict.kind == "full":
            raise ChannelFull(channel)
        wait = verdict.delay + (self._patience if verdict.kind == "reorder" else 0)
        if wait:
            await asyncio.sleep(wait)
        await self.inner.send(channel, message)
        if verdict.kind == "duplicate":
            try:
                await self.inner.send(channel, message)
            except ChannelFull:
                pass  # The sender has sent one, and that one arrived.

    async def group_send(self, group: str, message: Mapping[str, Any]) -> None:
        self.require_valid_group_name(group)
        self._call("group_send", group, message)
        await self.inner.group_send(group, message)

    async def group_add(self, group: str, channel: str) -> None:
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        self._call("group_add", group, None)
        await self.inner.group_add(group, channel)

    def _call(self, operation: Operation, name: str, message: Mapping[str, Any] | None) -> None:
        with self._plan.lock:
            label, down = self._label(name), self._outages > 0
            if not self._plan.fails(operation, label, name, lambda: _copy(message), down):
                return
            if not self._outages:
                self._lose_all()
                self._reconnect_all()
        raise ChannelLayerUnavailable(
            f"{operation} to {name!r} found no broker: FaultyChannelLayer injected this fault, "
            f"with the seed {self.seed}"
        )

    # Of its channels; all of it under the lock of the plan.

    def make_tap(self, outlet: Outlet) -> Tap:
        prefix = _prefix(outlet.name)
        with self._plan.lock:
            self._opened[prefix] += 1
            way = self._ways[outlet.name] = Way(
                self._plan,
                outlet,
                f"{prefix}#{self._opened[prefix]}",
                patience=self._patience,
                always=self._always,
                is_stalled=self._is_stalled,
                on_close=self._forget,
            )
        return way

    def _always(self, channel: str) -> FaultKind | None:
        if self._outages:
            return "disconnect"
        return "full" if self._is_filled(channel) else None

    def _is_stalled(self, channel: str) -> bool:
        return bool(self._stalled[None] or self._stalled[channel])

    def _is_filled(self, channel: str) -> bool:
        return bool(self._filled[None] or self._filled[channel])

    def _label(self, name: str) -> str:
        if (way := self._ways.get(name)) is not None:
            return way.label
        # Names of channels differ from run to run.
        return f"{_prefix(name)}#?" if "!" in name else name

    def _lose_all(self) -> None:
        for way in self._ways.values():
            way.lose()

    def _reconnect_all(self) -> None:
        for way in self._ways.values():
            way.reconnected()

    def _forget(self, way: Way) -> None:
        self._ways.pop(way.name, None)

    def __repr__(self) -> str:
        chances = "".join(
            f", {kind}={chance:g}" for kind, chance in self._chances.items() if chance
        )
        low, high = self._delay
        delay = f", delay=({low:g}, {high:g})" if high else ""
        return f"FaultyChannelLayer({type(self.inner).__name__}, seed={self.seed}{chances}{delay})"


def _copy(message: Mapping[str, Any] | None) -> Message | None:
    try:
        return None if message is None else deepcopy(dict(message))
    except Exception:
        return {}  # The layer will refuse it.


def _prefix(channel: str) -> str:
    """The ``chat`` of ``chat.0123456789abcdef!1``."""
    return channel.partition("!")[0].rpartition(".")[0]


def _seed_of_the_run() -> int:
    text = os.environ.get(SEED_VARIABLE, "0")
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{SEED_VARIABLE} is {text!r}, expected a whole number") from None
