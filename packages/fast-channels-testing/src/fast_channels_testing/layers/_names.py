"""Names of channels and groups, after the channel-layer specification."""

import string
from collections.abc import Awaitable
from typing import Any, Final

from fast_channels.exceptions import InvalidNameError
from fast_channels_testing.layers._base import SuiteBase, layer_test
from fast_channels_testing.layers._layers import Layers, numbered

_ALLOWED: Final = string.ascii_letters + string.digits + "-_."
# Those of one pair differ in nothing but what brokers like to give a meaning or to overlook.
_VALID: Final = (
    "a",
    "A",
    "0",
    "-",
    "_",
    ".",
    "..",
    ".a",
    "a.",
    "a..b",
    "a.b",
    "A.B",
    "a-b",
    "a_b",
    _ALLOWED,
    "n" * 98,
    "n" * 99,
)
_INVALID: Final = (
    "",
    "two words",
    "line\n",
    "a*",
    "a>",
    "a/b",
    "a:b",
    "a{b}",
    "a\x00",
    "smörgås",
    "٣",  # a digit, but not an ASCII one
    "n" * 100,
    None,
    5,
    b"bytes",
)
_INVALID_CHANNELS: Final = (*_INVALID, "!", "!a", "a!b!c", "a!!", "two words!a", "a!two words")
_INVALID_GROUPS: Final = (*_INVALID, "a!", "a!b")


async def _refused(layers: Layers, call: Awaitable[object], method: str, name: object) -> None:
    try:
        await layers.soon(call, f"{method} to refuse {name!r}")
    except InvalidNameError:
        return
    raise AssertionError(f"{method} took {name!r}, expected InvalidNameError")


class NamesTier(SuiteBase):
    """Names of channels and groups."""

    @layer_test("core")
    async def test_every_method_refuses_a_bad_channel_name(self, layers: Layers) -> None:
        layer = layers.make()
        name: Any
        for name in _INVALID_CHANNELS:
            await _refused(layers, layer.send(name, numbered(1)), "send", name)
            await _refused(layers, layer.receive(name), "receive", name)
            await _refused(layers, layer.close_channel(name), "close_channel", name)
            await _refused(layers, layer.group_add("group", name), "group_add", name)
            await _refused(layers, layer.group_discard("group", name), "group_discard", name)

    @layer_test("core")
    async def test_every_method_refuses_a_bad_group_name(self, layers: Layers) -> None:
        layer = layers.make()
        channel = await layer.new_channel()
        name: Any
        for name in _INVALID_GROUPS:
            await _refused(layers, layer.group_add(name, channel), "group_add", name)
            await _refused(layers, layer.group_discard(name, channel), "group_discard", name)
            await _refused(layers, layer.group_send(name, numbered(1)), "group_send", name)

    @layer_test("core")
    async def test_names_that_differ_name_different_groups(self, layers: Layers) -> None:
        layer = layers.make()
        members = {group: await layers.member(layer, group) for group in _VALID}
        for number, group in enumerate(_VALID):
            await layers.soon(layer.group_send(group, numbered(number)))
        for number, group in enumerate(_VALID):
            received = await layers.drain_group(layer, layer, group, members[group])
            assert received == [numbered(number)], (
                f"the member of group {group!r} got {received!r}, expected {numbered(number)!r}"
            )

    @layer_test("core", needs="general_channels")
    async def test_names_that_differ_name_different_channels(self, layers: Layers) -> None:
        layer = layers.make()
        for number, channel in enumerate(_VALID):
            await layers.soon(layer.send(channel, numbered(number)))
        for number, channel in enumerate(_VALID):
            received = await layers.drain(layer, layer, channel)
            assert received == [numbered(number)], (
                f"channel {channel!r} held {received!r}, expected {numbered(number)!r}"
            )

    @layer_test("core")
    async def test_a_new_channel_has_a_valid_name_after_its_prefix(self, layers: Layers) -> None:
        layer = layers.make()
        for prefix in ("specific", "a", "chat.room-1_x", "dotted.", "p" * 40):
            channel = await layers.soon(layer.new_channel(prefix))
            layer.require_valid_channel_name(channel)
            assert channel.startswith(prefix), f"{channel!r} has the prefix {prefix!r}"
            assert "!" in channel, f"{channel!r} has no '!', so it looks like a general channel"

    @layer_test("core")
    async def test_a_new_channel_without_a_prefix_is_called_specific(self, layers: Layers) -> None:
        channel = await layers.soon(layers.make().new_channel())
        assert channel.startswith("specific."), f"{channel!r} does not begin with 'specific.'"

    @layer_test("core")
    async def test_a_prefix_that_makes_no_channel_name_is_refused(self, layers: Layers) -> None:
        layer = layers.make()
        prefix: Any
        for prefix in ("", "two words", "a!b", "smörgås", "p" * 99, None, 5):
            await _refused(layers, layer.new_channel(prefix), "new_channel", prefix)

    @layer_test("core")
    async def test_no_two_channels_have_the_same_name(self, layers: Layers) -> None:
        # Layers that share nothing count, too: a name outlives its process in queues and logs.
        names: list[str] = []
        for layer in (layers.make(), layers.make()):
            for _ in range(100):
                names.append(await layers.soon(layer.new_channel()))
                if len(names) % 2:
                    await layer.close_channel(names[-1])
        assert len(set(names)) == len(names), "new_channel has returned a name for a second time"
