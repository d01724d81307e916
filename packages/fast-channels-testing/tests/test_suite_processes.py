"""Layers in real processes, as tests of the conformance suite have them."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest

from fast_channels.exceptions import ChannelClosed, InvalidNameError
from fast_channels.layers import BaseChannelLayer, InMemoryChannelLayer
from fast_channels_testing.layers import (
    SUPPORTED,
    Capabilities,
    ChannelLayerSuite,
    LayerProcessEnded,
    Layers,
)

DEADLINE = 20


def layers_of(make_layer: Callable[..., BaseChannelLayer]) -> Layers:
    return Layers(make_layer, None, DEADLINE)


async def test_a_process_has_the_layer_with_its_options() -> None:
    layers = layers_of(partial(InMemoryChannelLayer, capacity=1))
    async with layers.process(channel_capacity={"big.*": 2}) as process:
        big, small = await process.new_channel("big"), await layers.member(process, "room")
        await process.group_add("room", big)
        for n in range(3):
            await process.group_send("room", {"type": "n", "n": n, "data": b"\x00", "none": None})
        assert await layers.numbers(process, big, 2) == [0, 1]
        assert await layers.receive(process, small, 1) == [
            {"type": "n", "n": 0, "data": b"\x00", "none": None}
        ]
        await layers.nothing_waits(process, process, big)
        await process.group_discard("room", big)
        await process.send(small, {"type": "waits"})
        await process.flush()
        await layers.nothing_waits(process, process, small)
        await process.close()


async def test_exceptions_of_the_layer_are_raised_here() -> None:
    async with layers_of(InMemoryChannelLayer).process() as process:
        channel = await process.new_channel()
        with pytest.raises(InvalidNameError, match="no name"):
            await process.group_send("no name", {"type": "a"})
        receiving = asyncio.create_task(process.receive(channel))
        await process.send(channel, {"type": "so that it waits"})
        await receiving
        receiving = asyncio.create_task(process.receive(channel))
        await process.close_channel(channel)
        with pytest.raises(ChannelClosed) as caught:
            await receiving
        assert caught.value.channel == channel


async def test_a_cancelled_call_is_cancelled_there() -> None:
    layers = layers_of(InMemoryChannelLayer)
    async with layers.process() as process:
        receiving = asyncio.create_task(process.receive("jobs"))
        await process.send("jobs", {"type": "first"})
        await receiving
        giving_up = asyncio.create_task(process.receive("jobs"))
        await asyncio.sleep(0)
        giving_up.cancel()
        await asyncio.wait([giving_up])
        await process.send("jobs", {"type": "second"})
        assert await layers.receive(process, "jobs", 1) == [{"type": "second"}]


async def test_a_factory_that_cannot_be_pickled_is_named() -> None:
    layers = layers_of(lambda: InMemoryChannelLayer())
    with pytest.raises(TypeError, match=r"<lambda>.*functools\.partial\(MyLayer, url\)"):
        async with layers.process():
            pass


class FromHere(InMemoryChannelLayer):
    """Its module is none that can be imported."""


async def test_a_factory_that_cannot_be_made_again_says_what_it_has_to_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(FromHere, "__module__", "nowhere")
    monkeypatch.setitem(sys.modules, "nowhere", sys.modules[__name__])
    with pytest.raises(ModuleNotFoundError, match="nowhere") as caught:
        async with layers_of(FromHere).process():
            pass
    assert "modules that can be imported" in caught.value.__notes__[0]


async def test_what_making_the_layer_raises_is_raised_here() -> None:
    with pytest.raises(ValueError, match="expiry is -1"):
        async with layers_of(InMemoryChannelLayer).process(expiry=-1):
            pass


async def test_who_waits_for_a_process_that_is_killed_is_told() -> None:
    async with layers_of(InMemoryChannelLayer).process() as process:
        receiving = asyncio.create_task(process.receive("jobs"))
        await process.new_channel()
        await process.kill()
        with pytest.raises(LayerProcessEnded):
            await receiving
        with pytest.raises(LayerProcessEnded):
            await process.send("jobs", {"type": "job"})


BROKEN = """
import sys
from fast_channels.layers import InMemoryChannelLayer

class BrokenLayer(InMemoryChannelLayer):
    async def flush(self):
        print("printed")
        print("complained", file=sys.stderr)

    async def close(self):
        raise ZeroDivisionError("at close")
"""


@pytest.fixture
def broken_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Layers]:
    """Layers that cannot be closed, and talk when they are flushed."""
    (tmp_path / "broken_layer.py").write_text(BROKEN)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield layers_of(import_module("broken_layer").BrokenLayer)
    del sys.modules["broken_layer"]


async def test_a_process_that_fails_shows_what_it_wrote(broken_layers: Layers) -> None:
    with pytest.raises(LayerProcessEnded, match=r"(?s)ended with 1; it wrote:.*ZeroDivisionError"):
        async with broken_layers.process():
            pass


async def test_a_test_that_fails_shows_what_its_processes_wrote(broken_layers: Layers) -> None:
    with pytest.raises(RuntimeError, match="the test") as caught:
        async with broken_layers.process() as process:
            await process.flush()
            raise RuntimeError("the test")
    assert "complained" in caught.value.__notes__[0]
    assert "printed" in caught.value.__notes__[0]


class Tests(ChannelLayerSuite):
    """No layer of these packages tells a sender that a channel of another process is full."""

    __test__ = False
    capabilities = Capabilities(processes=SUPPORTED, remote_capacity=SUPPORTED)


@pytest.mark.parametrize("capacity", [2, 3, 4, 1000])
def test_a_layer_that_takes_more_or_less_than_a_channel_elsewhere_holds_is_found(
    capacity: int,
) -> None:
    shared = InMemoryChannelLayer(capacity=capacity)

    def make(**_: object) -> BaseChannelLayer:
        return shared

    def run() -> None:
        given = layers_of(make)
        Tests().test_a_full_channel_of_another_process_is_an_error(given)

    if capacity == 3:
        run()
    else:
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            run()
