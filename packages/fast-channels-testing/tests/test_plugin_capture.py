"""What was sent in a test, and assertions about it."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from fast_channels.consumer import AsyncWebsocketConsumer
from fast_channels.exceptions import ChannelFull, InvalidMessageError
from fast_channels.layers import (
    BaseChannelLayer,
    InMemoryChannelLayer,
    get_channel_layer,
    get_sync_channel_layer,
    register_channel_layer,
)
from fast_channels_testing import WebsocketCommunicator
from fast_channels_testing.captured import (
    AssertNotSent,
    AssertSent,
    CapturedMessage,
    CapturedMessages,
)
from fast_channels_testing.overrides import ChannelLayerOverrides


def message(number: int) -> dict[str, Any]:
    return {"type": "n", "n": number}


async def test_every_way_to_send_is_captured_in_order(
    channel_layers: ChannelLayerOverrides, captured_messages: CapturedMessages
) -> None:
    layer = get_channel_layer()
    jobs = channel_layers["jobs"]
    await layer.send("tasks", message(1))
    await layer.group_send(group="room", message=message(2))
    await asyncio.to_thread(get_sync_channel_layer().group_send, "room", message(3))
    await asyncio.to_thread(async_to_sync(jobs.send), "tasks", message(4))
    register_channel_layer("late", InMemoryChannelLayer())
    await get_channel_layer("late").send(channel="tasks", message=message(5))
    assert list(captured_messages) == [
        CapturedMessage(("default",), None, "tasks", message(1)),
        CapturedMessage(("default",), "room", None, message(2)),
        CapturedMessage(("default",), "room", None, message(3)),
        CapturedMessage(("jobs",), None, "tasks", message(4)),
        CapturedMessage(("late",), None, "tasks", message(5)),
    ]


def test_a_test_without_a_loop_is_captured(
    captured_messages: CapturedMessages, channel_layer: BaseChannelLayer
) -> None:
    get_sync_channel_layer().send("tasks", message(1))
    async_to_sync(channel_layer.group_send)("room", message(2))
    assert [each.message for each in captured_messages] == [message(1), message(2)]


class Talker(AsyncWebsocketConsumer):
    channel_layer_alias = "default"
    groups = ["room"]

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.channel_layer.group_send("room", {"type": "said", "text": text_data})

    async def said(self, event: dict[str, Any]) -> None:
        await self.send(event["text"])


async def test_what_a_consumer_sends_is_captured(
    channel_layer: BaseChannelLayer, assert_sent: AssertSent
) -> None:
    client = WebsocketCommunicator(Talker, "/")
    await client.connect(20)
    await client.send_to("hello")
    assert await client.receive_from(20) == "hello"
    await client.disconnect(timeout=20)
    assert assert_sent("room", type="said") == {"type": "said", "text": "hello"}


async def test_messages_are_copies(
    channel_layer: BaseChannelLayer, captured_messages: CapturedMessages
) -> None:
    sent: dict[str, Any] = {"type": "x", "list": [1]}
    await channel_layer.group_send("room", sent)
    sent["list"].append(2)
    assert captured_messages[0].message == {"type": "x", "list": [1]}


async def test_what_was_refused_was_not_sent(
    channel_layers: ChannelLayerOverrides, captured_messages: CapturedMessages
) -> None:
    layer = channel_layers.override("default", InMemoryChannelLayer(capacity=1))
    await layer.send("tasks", message(1))
    with pytest.raises(ChannelFull):
        await layer.send("tasks", message(2))
    with pytest.raises(InvalidMessageError):
        await layer.send("tasks", {"type": "x", "lock": asyncio.Lock()})
    with pytest.raises(InvalidMessageError):
        await layer.send("tasks", None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # what the test is about
    assert [each.message for each in captured_messages] == [message(1)]


class Relay(InMemoryChannelLayer):
    """Sends to itself, and to another layer."""

    other: BaseChannelLayer

    async def group_send(self, group: str, message: Mapping[str, Any]) -> None:
        await self.send("log", {"type": "log"})
        await asyncio.create_task(self.other.group_send(group, message))


async def test_only_what_the_application_sent_is_captured(
    channel_layers: ChannelLayerOverrides, captured_messages: CapturedMessages
) -> None:
    relay = Relay()
    relay.other = channel_layers["jobs"]
    channel_layers.override("default", relay)
    await get_channel_layer().group_send("room", message(1))
    await get_channel_layer("jobs").group_send("room", message(2))
    assert [(each.aliases, each.message["n"]) for each in captured_messages] == [
        (("default",), 1),
        (("jobs",), 2),
    ]


async def test_a_layer_with_several_aliases_has_all_of_them(
    channel_layers: ChannelLayerOverrides, assert_sent: AssertSent, assert_not_sent: AssertNotSent
) -> None:
    layer = channel_layers["default"]
    channel_layers.override("chat", layer)
    await layer.group_send("room", message(1))
    assert_sent("room", alias="default")
    assert_sent("room", alias="chat")
    with pytest.raises(AssertionError, match="of 'default' and 'chat'"):
        assert_not_sent("room", alias="chat")
    assert_not_sent("room", alias="other")


async def test_a_layer_that_is_not_registered_any_more_is_not_listened_to(
    channel_layers: ChannelLayerOverrides, captured_messages: CapturedMessages
) -> None:
    former = channel_layers["default"]
    channel_layers.override("default")
    await former.send("tasks", message(1))
    assert len(captured_messages) == 0


async def test_what_is_asserted_may_be_part_of_the_message(
    channel_layer: BaseChannelLayer, assert_sent: AssertSent, assert_not_sent: AssertNotSent
) -> None:
    await channel_layer.group_send("room", {"type": "x", "a": 1, "channel": "c"})
    await channel_layer.group_send("room", {"type": "x", "a": 2})
    await channel_layer.send("tasks", {"type": "y", "none": None})
    assert_sent()
    assert_sent("room")
    assert assert_sent("room", type="x") == {"type": "x", "a": 1, "channel": "c"}
    assert assert_sent("room", a=2) == {"type": "x", "a": 2}
    assert_sent("room", {"channel": "c"}, type="x")
    assert_sent(channel="tasks", type="y", none=None)
    assert_sent("room", alias="default")
    assert_not_sent("tasks")
    assert_not_sent("room", type="y")
    assert_not_sent("room", none=None)
    assert_not_sent(channel="room")
    assert_not_sent(alias="other")
    with pytest.raises(TypeError, match="a group or to a channel"):
        assert_sent("room", channel="tasks")


async def test_messages_can_be_looked_through(
    channel_layer: BaseChannelLayer, captured_messages: CapturedMessages
) -> None:
    for number in range(4):
        await channel_layer.group_send("odd" if number % 2 else "even", message(number))
    assert [each.message["n"] for each in captured_messages.matching("odd")] == [1, 3]
    assert [each.message["n"] for each in captured_messages[2:].matching(type="n")] == [2, 3]


def failure(assertion: AssertSent | AssertNotSent, *args: Any, **fields: Any) -> list[str]:
    with pytest.raises(AssertionError) as caught:
        assertion(*args, **fields)
    return str(caught.value).splitlines()


async def test_a_failure_shows_the_nearest_message_and_all_others(
    channel_layer: BaseChannelLayer, assert_sent: AssertSent, assert_not_sent: AssertNotSent
) -> None:
    assert failure(assert_sent, "room") == [
        "not sent: to group 'room'",
        "nothing was sent to a registered layer; still on its way? `await communicator.settle()`",
    ]
    await channel_layer.send("tasks", {"type": "job"})
    await channel_layer.group_send("room", {"type": "said", "text": "ho", "by": "ada"})
    assert failure(assert_sent, "room", type="said", text="hi", at=5) == [
        "not sent: to group 'room': type='said', text='hi', at=5",
        "the nearest is number 2:",
        "    text: expected 'hi', got 'ho'",
        "    at: expected 5, which is missing",
        "2 sent during the test:",
        "  1. to channel 'tasks' of 'default': type='job'",
        "  2. to group 'room' of 'default': type='said', text='ho', by='ada'",
    ]
    assert failure(assert_sent, channel="job", alias="jobs", type="job")[:4] == [
        "not sent: to channel 'job' of 'jobs': type='job'",
        "the nearest is number 1:",
        "    channel: expected 'job', got 'tasks'",
        "    alias: expected 'jobs', got 'default'",
    ]
    assert failure(assert_not_sent, "room", type="said")[:2] == [
        "sent: to group 'room': type='said'",
        "it is number 2 of",
    ]


async def test_a_failure_is_short_even_if_much_was_sent(
    channel_layer: BaseChannelLayer, assert_sent: AssertSent
) -> None:
    for number in range(100):
        await channel_layer.group_send("room", {"type": "n", "n": number, "text": "x" * 5000})
    lines = failure(assert_sent, "room", n=100)
    assert lines[3:5] == ["100 sent during the test:", "  (60 earlier ones left out)"]
    assert len(lines) == 45
    assert max(map(len, lines)) < 200
