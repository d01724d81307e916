"""Layers with a connection for each event loop, which is closed in that loop."""

from textwrap import dedent

import pytest

from fast_channels.layers import BrokerChannelLayer, SyncChannelLayer
from fast_channels.testing import FaultyChannelLayer
from fast_channels_testing.overrides import ChannelLayerOverrides

# What the inner tests import, and is forgotten with them unless it is there already.
IMPORTED = (BrokerChannelLayer, ChannelLayerOverrides, FaultyChannelLayer, SyncChannelLayer)

INI = """
[pytest]
addopts = -q -p no:cacheprovider -p no:hypothesispytest
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""

LAYER = """
import asyncio

from fast_channels.layers import BrokerChannelLayer, BrokerConnection

opened, closed, kept = [], [], []

class Connection(BrokerConnection):
    async def connect(self):
        self.inbox = asyncio.Queue()
        self.reader = asyncio.create_task(self.read(), name="reader")
        opened.append(self)

    async def read(self):
        while True:
            self.node.deliver_to_group(*await self.inbox.get())

    async def close(self):
        assert asyncio.get_running_loop() is self.node.loop
        if self in opened:
            self.reader.cancel()
            await asyncio.wait([self.reader])
            opened.remove(self)
            closed.append(self)

    async def subscribe(self, group): pass
    async def unsubscribe(self, group): pass
    async def send_to_node(self, node_id, data): return False
    async def push(self, channel, data, capacity, expiry): return True
    async def pull(self, channel): await asyncio.Event().wait()
    async def flush(self): pass

    async def publish(self, group, data):
        for each in tuple(opened):
            each.node.loop.call_soon_threadsafe(each.inbox.put_nowait, (group, data))

class Layer(BrokerChannelLayer):
    def make_connection(self, node):
        return Connection(node)

class Careless(Layer):
    async def close(self):
        await super().close()
        kept.append(asyncio.create_task(asyncio.Event().wait(), name="careless"))
"""

CONFTEST = """
import pytest
from broker_layer import Layer, closed, opened

@pytest.fixture(autouse=True)
def afterwards():
    closed.clear()
    yield
    assert opened == []

@pytest.fixture
def make_channel_layer():
    return Layer
"""

HEAD = """
import asyncio, pytest
from broker_layer import Careless, Layer, closed, opened
from fast_channels.layers import get_sync_channel_layer, register_channel_layer
from fast_channels.testing import FaultyChannelLayer

def faulty(layers):
    return layers.override("default", FaultyChannelLayer(layers["default"]))

async def hear(layer, send):
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    await send("room", {"type": "x"})
    async with asyncio.timeout(20):
        assert await layer.receive(channel) == {"type": "x"}
    return channel
"""


def run(pytester: pytest.Pytester, tests: str) -> pytest.RunResult:
    pytester.makeini(INI)
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(broker_layer=LAYER, test_it=HEAD + dedent(tests))
    return pytester.runpytest_inprocess()


def test_connections_are_closed_with_the_test(pytester: pytest.Pytester) -> None:
    run(
        pytester,
        """
        async def test_one_loop(channel_layer):
            await channel_layer.close_channel(await hear(channel_layer, channel_layer.group_send))
            assert len(opened) == 1

        async def test_blocking_calls(channel_layer):
            send = get_sync_channel_layer().group_send
            channel = await hear(channel_layer, lambda *call: asyncio.to_thread(send, *call))
            await channel_layer.close_channel(channel)
            assert len(opened) == 2

        def test_only_blocking_calls(channel_layer):
            get_sync_channel_layer().group_send("room", {"type": "x"})
            assert len(opened) == 1

        def test_two_loops_one_after_the_other(channel_layer):
            for number in range(2):
                asyncio.run(channel_layer.group_send("room", {"type": "x"}))
                assert opened == []
                assert len(closed) == number + 1

        async def test_around_it(channel_layers):
            layer = faulty(channel_layers)
            await layer.close_channel(await hear(layer, layer.group_send))

        @pytest.mark.asyncio(loop_scope="class")
        class TestLoopThatGoesOn:
            async def test_it(self, channel_layer):
                await channel_layer.group_send("room", {"type": "x"})
                assert len(opened) == 1

            async def test_after_it(self):
                assert opened == []
        """,
    ).assert_outcomes(passed=7)


def test_what_is_left_is_named(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        async def test_a_channel(channel_layers):
            layer = faulty(channel_layers)
            await hear(layer, layer.group_send)

        async def test_a_layer(channel_layers):
            await channel_layers.override("mine", Careless()).group_send("room", {"type": "x"})

        async def test_an_application_that_does_not_close_its_layer(channel_layers):
            layer = Layer()
            register_channel_layer("theirs", layer)
            await layer.group_send("room", {"type": "x"})
        """,
    )
    result.assert_outcomes(passed=3, errors=3)
    result.stdout.fnmatch_lines(
        [
            "test_a_channel left behind:",
            "  channel 'specific.*!1' of layer 'default', in group 'room'",
            "Close channels, *",
            "test_a_layer left behind:",
            "  task 'careless' running Event.wait, *",
            "Close channels, *",
            "test_an_application_that_does_not_close_its_layer left behind:",
            "  task 'reader' running Connection.read, *",
        ]
    )
