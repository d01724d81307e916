"""What messages carry, and what is refused."""

import copy
import datetime as dt
import decimal
import math
import sys
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from pprint import pformat
from typing import Any, Final

from fast_channels.exceptions import InvalidMessageError
from fast_channels.layers import BaseChannelLayer
from fast_channels.types import Message
from fast_channels_testing.layers._base import SuiteBase, layer_test
from fast_channels_testing.layers._layers import Layers

_CARRIED: Final[tuple[Any, ...]] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2**31,
    2**53 + 1,
    2**63 - 1,
    -(2**63),
    0.0,
    -0.0,
    0.1,
    1.0,
    1e308,
    5e-324,
    sys.float_info.min,
    math.inf,
    -math.inf,
    "",
    "0",
    "null",
    "grüße, 你好, Здравствуйте",
    "👋🏽 🏴\u200d☠️ \U0001d56c",
    "\x00 \r\n \x7f \u2028 \ufeff \ufffe \U0010ffff",
    b"",
    b"0",
    bytes(range(256)),
    b"\xff\xfe \xed\xa0\x80",  # no UTF-8
    [],
    {},
    [[]],
    [{}],
    {"list": []},
    [1, [2, [3, {"deep": [None, b"\xff", {"er": -0.0}]}]]],
    {"a": {"b": {"c": "d"}}, "list": [{"x": 1}, {"x": 2.0}]},
    {"": "an empty key", "ключ 🗝": "a key of other letters", "type": "a key like the message's"},
    [[[[[[[[[[[[[[[[[[[["twenty levels"]]]]]]]]]]]]]]]]]]]],
    [None] * 1000,
    {str(number): number for number in range(1000)},
)
_CARRIED_OR_REFUSED: Final[tuple[Any, ...]] = (math.nan, 2**63, 2**64 - 1)
_ITSELF: Final[list[object]] = []
_ITSELF.append(_ITSELF)
_REFUSED: Final[tuple[Any, ...]] = (
    2**64,
    -(2**63) - 1,
    10**30,
    "\ud800",
    "a\udfff",
    {"\ud83d": 1},
    {1: "a key that is no str"},
    {None: 1},
    {(1, 2): 3},
    {1, 2},
    1j,
    object(),
    dt.datetime(2024, 2, 29, tzinfo=dt.UTC),
    decimal.Decimal("0.1"),
    uuid.UUID(int=1),
    [1, {"deep": {1}}],
    _ITSELF,
)
_NO_MESSAGES: Final[tuple[Any, ...]] = (
    None,
    "text",
    ["type"],
    {},
    {"text": "no type"},
    {"type": None},
    {"type": 5},
    {"type": b"bytes"},
)
_MEGABYTE: Final = 1_000_000

Send = Callable[[Message], Awaitable[None]]


class PayloadTier(SuiteBase):
    """What messages carry, and what is refused."""

    @layer_test("core")
    async def test_every_value_arrives_at_a_channel_as_it_was_sent(self, layers: Layers) -> None:
        layer = layers.make()
        channel = await layer.new_channel()
        await _carries_all(layers, layer, partial(layer.send, channel), channel)

    @layer_test("core")
    async def test_every_value_arrives_at_a_member_as_it_was_sent(self, layers: Layers) -> None:
        layer = layers.make()
        channel = await layers.member(layer, "group")
        await _carries_all(layers, layer, partial(layer.group_send, "group"), channel)

    @layer_test("core", needs="general_channels")
    async def test_every_value_arrives_at_a_general_channel_as_it_was_sent(
        self, layers: Layers
    ) -> None:
        layer = layers.make()
        await _carries_all(layers, layer, partial(layer.send, "jobs"), "jobs")

    @layer_test("core")
    async def test_a_megabyte_arrives_at_a_channel_whole(self, layers: Layers) -> None:
        layer = layers.make()
        channel = await layer.new_channel()
        await _carries_a_megabyte(layers, layer, partial(layer.send, channel), channel)

    @layer_test("core")
    async def test_a_megabyte_arrives_at_a_member_whole(self, layers: Layers) -> None:
        layer = layers.make()
        channel = await layers.member(layer, "group")
        await _carries_a_megabyte(layers, layer, partial(layer.group_send, "group"), channel)

    @layer_test("core", needs="general_channels")
    async def test_a_megabyte_arrives_at_a_general_channel_whole(self, layers: Layers) -> None:
        layer = layers.make()
        await _carries_a_megabyte(layers, layer, partial(layer.send, "jobs"), "jobs")

    @layer_test("core")
    async def test_what_cannot_be_carried_is_refused_and_harms_nothing(
        self, layers: Layers
    ) -> None:
        layer = layers.make()
        channel = await layers.member(layer, "group")
        bad: Any
        for bad in (*_NO_MESSAGES, *({"type": "bad", "value": value} for value in _REFUSED)):
            await _refused(layers, layer.send(channel, bad), "send", bad)
            await _refused(layers, layer.group_send("group", bad), "group_send", bad)
        await layers.nothing_waits(layer, layer, channel)
        assert await layers.drain_group(layer, layer, "group", channel) == []

    @layer_test("core", needs="general_channels")
    async def test_what_cannot_be_carried_does_not_enter_a_general_channel(
        self, layers: Layers
    ) -> None:
        layer = layers.make()
        bad: Any
        for bad in (*_NO_MESSAGES, *({"type": "bad", "value": value} for value in _REFUSED)):
            await _refused(layers, layer.send("jobs", bad), "send", bad)
        await layers.nothing_waits(layer, layer, "jobs")


async def _carries_all(layers: Layers, layer: BaseChannelLayer, send: Send, channel: str) -> None:
    wrong: list[str] = []
    for value in (*_CARRIED, *_CARRIED_OR_REFUSED):
        message = {"type": "value", "value": value}
        try:
            # A copy: what a layer may do to it is for other tests to find.
            await layers.soon(send(copy.deepcopy(message)))
        except InvalidMessageError as refused:
            if value in _CARRIED:
                wrong.append(f"{_short(value)} was refused: {refused}")
            continue
        (received,) = await layers.receive(layer, channel, 1)
        # Unlike ==, it tells True from 1 and -0.0 from 0.0, and takes NaN for NaN.
        if pformat(received) != pformat(message):
            wrong.append(f"{_short(message)} arrived as {_short(received)}")
    assert not wrong, "\n".join(wrong)


async def _carries_a_megabyte(
    layers: Layers, layer: BaseChannelLayer, send: Send, channel: str
) -> None:
    for value in ("0123456789" * (_MEGABYTE // 10), bytes(range(250)) * (_MEGABYTE // 250)):
        await layers.soon(send({"type": "large", "value": value}))
        (received,) = await layers.receive(layer, channel, 1)
        # Not compared in the assertion: it would print both.
        arrived = received == {"type": "large", "value": value}
        assert arrived, f"a message with a megabyte of {type(value).__name__} has changed"


async def _refused(layers: Layers, call: Awaitable[None], method: str, message: object) -> None:
    try:
        await layers.soon(call)
    except InvalidMessageError:
        return
    raise AssertionError(f"{method} took {_short(message)}, expected InvalidMessageError")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:190]}... of {len(text)} characters"
