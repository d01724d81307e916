"""What layers do for Django Channels; with the real one it is in the integration tests."""

import asyncio
import copy
import gc
import pickle
import sys
from collections.abc import Awaitable, Callable
from types import ModuleType

import pytest
from tcp_broker import Broker, MakeLayer, reached

from fast_channels.exceptions import ChannelClosed, ChannelFull
from fast_channels.layers import BaseChannelLayer, InMemoryChannelLayer

Settle = Callable[[], Awaitable[None]]
Counted = Callable[[], dict[str, int]]

MESSAGE = {"type": "a"}


class TheirChannelFull(Exception):
    pass


@pytest.fixture
def django_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if Django Channels were loaded."""
    exceptions = ModuleType("channels.exceptions")
    vars(exceptions)["ChannelFull"] = TheirChannelFull
    monkeypatch.setitem(sys.modules, "channels.exceptions", exceptions)
    monkeypatch.setitem(sys.modules, "channels.consumer", ModuleType("channels.consumer"))


@pytest.fixture(params=["memory", "broker"])
def either(request: pytest.FixtureRequest, make_layer: MakeLayer) -> BaseChannelLayer:
    return InMemoryChannelLayer(capacity=1) if request.param == "memory" else make_layer(capacity=1)


async def closed(layer: BaseChannelLayer, channel: str) -> bool:
    try:
        async with asyncio.timeout(0):
            await layer.receive(channel)
    except ChannelClosed:
        return True
    except TimeoutError:
        pass
    return False


@pytest.mark.usefixtures("django_channels")
async def test_channel_ends_with_the_name_that_its_owner_has(
    either: BaseChannelLayer, settle: Settle, counted: Counted
) -> None:
    name = await either.new_channel()
    plain = str(name)
    await either.group_add("room", name)
    await settle()
    assert not await closed(either, plain)
    del name
    gc.collect()
    await settle()
    assert await closed(either, plain)
    await either.send(plain, MESSAGE)
    assert counted() == {"channel.gone": 1}


@pytest.mark.usefixtures("django_channels")
async def test_channel_without_owner_leaves_its_groups_at_the_broker(
    broker: Broker, make_layer: MakeLayer
) -> None:
    layer = make_layer(linger=0)
    name = await layer.new_channel()
    await layer.group_add("room", name)
    assert broker.groups.get("room")
    del name
    gc.collect()
    await reached(lambda: not broker.groups.get("room"))


@pytest.mark.usefixtures("django_channels")
async def test_channel_that_somebody_waits_at_stays(
    either: BaseChannelLayer, settle: Settle
) -> None:
    name = await either.new_channel()
    plain = str(name)
    receiving = asyncio.create_task(either.receive(name))
    del name
    gc.collect()
    await settle()
    await either.send(plain, MESSAGE)
    assert await receiving == MESSAGE


@pytest.mark.usefixtures("django_channels")
async def test_name_is_good_for_all_that_names_are_for(
    either: BaseChannelLayer, make_layer: MakeLayer
) -> None:
    name = await either.new_channel()
    await either.group_add("room", name)
    await either.send(name, {"type": "a", "from": name})
    message = await either.receive(name)
    assert message == {"type": "a", "from": name}
    assert type(message["from"]) is str
    await either.group_discard("room", name)
    await either.close_channel(name)
    assert await closed(either, name)
    # To another process, names travel in parcels.
    there = make_layer()
    await there.send(name, MESSAGE)
    await there.group_add("room", name)
    await there.group_discard("room", name)


@pytest.mark.usefixtures("django_channels")
async def test_copies_of_a_name_are_plain(either: BaseChannelLayer) -> None:
    name = await either.new_channel()
    for made in (copy.deepcopy(name), pickle.loads(pickle.dumps(name)), str(name), f"{name}"):
        assert type(made) is str
        assert made == name


@pytest.mark.usefixtures("django_channels")
def test_name_that_outlives_its_loop_ends_in_silence() -> None:
    layer = InMemoryChannelLayer()
    name = asyncio.run(layer.new_channel())
    del name
    gc.collect()


async def test_names_are_plain_without_django_channels(either: BaseChannelLayer) -> None:
    assert type(await either.new_channel()) is str


@pytest.mark.usefixtures("django_channels")
async def test_full_channel_is_what_django_channels_raises(either: BaseChannelLayer) -> None:
    name = await either.new_channel()
    await either.send(name, MESSAGE)
    with pytest.raises(TheirChannelFull) as raised:
        await either.send(name, MESSAGE)
    assert isinstance(raised.value, ChannelFull)
    assert raised.value.channel == name
    assert type(pickle.loads(pickle.dumps(raised.value))) is ChannelFull


@pytest.mark.usefixtures("django_channels")
async def test_full_general_channel_is_what_django_channels_raises(
    either: BaseChannelLayer,
) -> None:
    await either.send("jobs", MESSAGE)
    with pytest.raises(TheirChannelFull):
        await either.send("jobs", MESSAGE)


async def test_full_channel_without_django_channels(either: BaseChannelLayer) -> None:
    await either.send("jobs", MESSAGE)
    with pytest.raises(ChannelFull) as raised:
        await either.send("jobs", MESSAGE)
    assert type(raised.value) is ChannelFull
