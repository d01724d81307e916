"""The in-memory layer against a model of it: dicts, queues and a clock."""

import asyncio
from collections import Counter, deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from fast_channels.exceptions import ChannelClosed, ChannelFull
from fast_channels.layers import InMemoryChannelLayer
from fast_channels.statistics import DropCounter

T = TypeVar("T")
CAPACITY = 3
EXPIRY = 10.0
GENERAL = ["general.a", "general.b"]
GROUPS = ["group.a", "group.b"]


@dataclass
class Channel:
    """What the model knows of one channel."""

    messages: deque[tuple[int, float]] = field(default_factory=deque[tuple[int, float]])
    """Numbers of messages, with the times at which they expire."""
    receivers: deque[asyncio.Task[Any]] = field(default_factory=deque[asyncio.Task[Any]])


class LayerMachine(RuleBasedStateMachine):
    channels = Bundle("channels")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.patch = pytest.MonkeyPatch()
        self.drops = DropCounter()
        self.patch.setattr("fast_channels.layers._mailbox.time", self)
        self.patch.setattr("fast_channels.layers._codec.time", self)
        self.patch.setattr("fast_channels.layers._local.statistics", self.drops)
        self.loop = asyncio.new_event_loop()
        self.layer = InMemoryChannelLayer(capacity=CAPACITY, expiry=EXPIRY)
        self.last_number = 0
        self.open: dict[str, Channel] = {}
        self.groups: dict[str, set[str]] = {group: set() for group in GROUPS}
        self.dropped = Counter[str]()
        self.expected: list[tuple[asyncio.Task[Any], int | type[BaseException]]] = []

    def monotonic(self) -> float:
        return self.now

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Make a call, and let every receiver go on until it waits again."""

        async def call_and_settle() -> T:
            try:
                return await call
            finally:
                for _ in range(5):
                    await asyncio.sleep(0)

        return self.loop.run_until_complete(call_and_settle())

    def new_message(self) -> dict[str, Any]:
        self.last_number += 1
        return {"type": "test", "n": self.last_number}

    def find(self, name: str) -> Channel | None:
        if "!" not in name:
            self.open.setdefault(name, Channel())
        return self.open.get(name)

    def put(self, channel: Channel, number: int) -> bool:
        """Give a message to the channel of the model; whether it had room."""
        while channel.messages and channel.messages[0][1] <= self.now:
            channel.messages.popleft()
        if channel.receivers:
            self.expected.append((channel.receivers.popleft(), number))
        elif len(channel.messages) < CAPACITY:
            channel.messages.append((number, self.now + EXPIRY))
        else:
            return False
        return True

    def close_in_model(self, name: str) -> None:
        channel = self.open.pop(name, None)
        for members in self.groups.values():
            members.discard(name)
        if channel is not None:
            self.expected.extend((receiver, ChannelClosed) for receiver in channel.receivers)

    @initialize(target=channels)
    def start(self) -> Any:
        return multiple(*GENERAL, *(self.new_channel() for _ in range(2)))

    @rule(target=channels)
    def new_channel(self) -> str:
        name = self.run(self.layer.new_channel())
        assert name not in self.open
        self.open[name] = Channel()
        return name

    @rule(name=channels)
    def close_channel(self, name: str) -> None:
        self.run(self.layer.close_channel(name))
        if "!" in name:
            self.close_in_model(name)

    @rule(group=st.sampled_from(GROUPS), name=channels)
    def group_add(self, group: str, name: str) -> None:
        self.run(self.layer.group_add(group, name))
        if self.find(name) is not None:
            self.groups[group].add(name)

    @rule(group=st.sampled_from(GROUPS), name=channels)
    def group_discard(self, group: str, name: str) -> None:
        self.run(self.layer.group_discard(group, name))
        self.groups[group].discard(name)

    @rule(name=channels)
    def send(self, name: str) -> None:
        message = self.new_message()
        channel = self.find(name)
        if channel is None:
            self.run(self.layer.send(name, message))
            self.dropped["channel.gone"] += 1
        elif self.put(channel, message["n"]):
            self.run(self.layer.send(name, message))
        else:
            with pytest.raises(ChannelFull):
                self.run(self.layer.send(name, message))

    @rule(group=st.sampled_from(GROUPS))
    def group_send(self, group: str) -> None:
        message = self.new_message()
        self.run(self.layer.group_send(group, message))
        for name in self.groups[group]:
            if not self.put(self.open[name], message["n"]):
                self.dropped["event.full"] += 1

    @rule(name=channels)
    def receive(self, name: str) -> None:
        receiver = self.loop.create_task(self.layer.receive(name))
        self.run(asyncio.sleep(0))
        channel = self.find(name)
        if channel is None:
            self.expected.append((receiver, ChannelClosed))
            return
        while channel.messages:
            number, expires_at = channel.messages.popleft()
            if expires_at > self.now:
                self.expected.append((receiver, number))
                return
        channel.receivers.append(receiver)

    @precondition(lambda self: any(channel.receivers for channel in self.open.values()))
    @rule(data=st.data())
    def cancel_a_receiver(self, data: st.DataObject) -> None:
        waiting = [(name, i) for name in self.open for i in range(len(self.open[name].receivers))]
        name, index = data.draw(st.sampled_from(waiting))
        receiver = self.open[name].receivers[index]
        del self.open[name].receivers[index]
        receiver.cancel()
        self.run(asyncio.sleep(0))
        self.expected.append((receiver, asyncio.CancelledError))

    @precondition(lambda self: any(channel.receivers for channel in self.open.values()))
    @rule(data=st.data())
    def cancel_a_receiver_that_was_just_woken(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([n for n in self.open if self.open[n].receivers]))
        message = self.new_message()

        async def send_and_cancel() -> None:
            await self.layer.send(name, message)
            victim.cancel()

        victim = self.open[name].receivers.popleft()
        self.put(self.open[name], message["n"])
        self.run(send_and_cancel())
        self.expected.append((victim, asyncio.CancelledError))

    @rule(seconds=st.sampled_from([1.0, EXPIRY / 2, EXPIRY]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def flush(self) -> None:
        self.run(self.layer.flush())
        for channel in self.open.values():
            channel.messages.clear()
        for members in self.groups.values():
            members.clear()

    @rule()
    def close(self) -> None:
        self.run(self.layer.close())
        for name in list(self.open):
            self.close_in_model(name)

    @invariant()
    def every_receiver_got_what_the_model_says(self) -> None:
        for receiver, outcome in self.expected:
            assert receiver.done(), f"still waits, should have {outcome}"
            if isinstance(outcome, int):
                assert receiver.result() == {"type": "test", "n": outcome}
            else:
                with pytest.raises(outcome):
                    receiver.result()
        self.expected.clear()
        for channel in self.open.values():
            assert not any(receiver.done() for receiver in channel.receivers)

    @invariant()
    def every_drop_was_counted(self) -> None:
        assert self.drops.snapshot() == self.dropped

    def teardown(self) -> None:
        for channel in self.open.values():
            for receiver in channel.receivers:
                receiver.cancel()
        self.run(asyncio.sleep(0))
        self.loop.close()
        self.patch.undo()


LayerMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestLayerAgainstModel = LayerMachine.TestCase
