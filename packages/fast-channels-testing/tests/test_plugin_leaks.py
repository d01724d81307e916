"""A test that leaves channels, groups or tasks behind fails; others do not."""

from textwrap import dedent

import pytest

from fast_channels_testing import WebsocketCommunicator
from fast_channels_testing._plugin_leaks import LeakCheck
from fast_channels_testing.overrides import ChannelLayerOverrides

# What the inner tests import, and is forgotten with them unless it is there already.
IMPORTED = (LeakCheck, ChannelLayerOverrides, WebsocketCommunicator)

INI = """
[pytest]
addopts = -q -rN -p no:cacheprovider -p no:hypothesispytest
asyncio_mode = {mode}
asyncio_default_fixture_loop_scope = function
asyncio_default_test_loop_scope = {scope}
filterwarnings = error
markers = asyncio
"""

HEAD = """
import asyncio
import unittest

import pytest

from fast_channels.consumer import AsyncWebsocketConsumer
from fast_channels.layers import InMemoryChannelLayer, get_channel_layer, register_channel_layer
from fast_channels.testing import WebsocketCommunicator

async def for_ever():
    await asyncio.Event().wait()

kept = []

def begin(work, name=None):
    kept.append(asyncio.create_task(work, name=name))
    return kept[-1]
"""


class Run:
    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester

    def __call__(
        self, tests: str, *options: str, mode: str = "auto", scope: str = "function"
    ) -> pytest.RunResult:
        self._pytester.makeini(INI.format(mode=mode, scope=scope))
        self._pytester.makepyfile(test_it=HEAD + dedent(tests))
        return self._pytester.runpytest_inprocess(*options)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of what the test leaves behind is about to end."""
    monkeypatch.setattr("fast_channels_testing._plugin_leaks._GRACE", 0.01)


leaves = pytest.mark.usefixtures("impatient")


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    return Run(pytester)


@leaves
def test_what_is_left_is_named(run: Run) -> None:
    result = run(
        """
        async def test_leaves(channel_layers):
            layer = channel_layers["chat"]
            channel = await layer.new_channel("me")
            await layer.group_add("room", channel)
            await layer.group_add("lobby", channel)
            await layer.group_add("workers", "tasks")
            await layer.send("unread", {"type": "x"})
            begin(for_ever(), "forgotten")
            asyncio.get_running_loop().set_debug(True)
            begin(for_ever(), "traced")
        """
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "test_leaves left behind:",
            "  task 'forgotten' running for_ever, waiting at test_it.py:11 in for_ever -> *",
            "  task 'traced' running for_ever, waiting at *, created at test_it.py:16 in begin",
            "  channel 'me.*!1' of layer 'chat', in groups 'lobby', 'room'",
            "  channel 'tasks' of layer 'chat', in group 'workers'",
            "*allow_channel_leaks(reason=...).",
        ],
        consecutive=True,
    )


LEAKS = """
async def leave():
    await get_channel_layer().new_channel("mine")
    begin(for_ever(), "left")
"""

RUNNERS = {
    "pytest-asyncio": """
        @pytest.mark.asyncio
        async def test_it(channel_layer):
            await leave()
    """,
    "pytest-asyncio, the loop first": """
        import pytest_asyncio

        @pytest_asyncio.fixture
        async def first():
            yield

        @pytest.mark.asyncio
        async def test_it(first, channel_layer):
            await leave()
    """,
    "pytest-asyncio, the loop of a class": """
        @pytest.mark.asyncio(loop_scope="class")
        class TestClass:
            async def test_it(self, channel_layer):
                await leave()
    """,
    "pytest-asyncio, the loop of the session": """
        @pytest.mark.asyncio(loop_scope="session")
        async def test_it(channel_layer):
            await leave()
    """,
    "anyio": """
        @pytest.mark.anyio
        @pytest.mark.parametrize("anyio_backend", ["asyncio"])
        async def test_it(anyio_backend, channel_layer):
            await leave()
    """,
    "anyio, with a fixture": """
        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.fixture
        async def something(anyio_backend):
            yield 1

        @pytest.mark.anyio
        async def test_it(channel_layer, something):
            await leave()
    """,
    "unittest": """
        @pytest.mark.usefixtures("channel_layer")
        class Case(unittest.IsolatedAsyncioTestCase):
            async def test_it(self):
                await leave()
    """,
    "asyncio.run": """
        def test_it(channel_layer):
            asyncio.run(leave())
    """,
}


@leaves
@pytest.mark.parametrize("runner", RUNNERS)
def test_every_runner_is_looked_after(run: Run, runner: str) -> None:
    result = run(LEAKS + dedent(RUNNERS[runner]), mode="strict")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["  task 'left' running for_ever*", "  channel 'mine.*!1'*"])
    assert str(result.stdout).count("  task '") == str(result.stdout).count("  channel '") == 1


@pytest.mark.parametrize("runner", RUNNERS)
def test_every_runner_may_leave_nothing(run: Run, runner: str) -> None:
    nothing = """
        class Echo(AsyncWebsocketConsumer):
            channel_layer_alias = "default"
            groups = ["room"]

            async def said(self, event):
                await self.send("said")

        async def leave():
            client = WebsocketCommunicator(Echo, "/")
            await client.connect(20)
            await get_channel_layer().group_send("room", {"type": "said"})
            assert await client.receive_from(20) == "said"
            await client.disconnect(timeout=20)
            # These end as soon as somebody lets them.
            begin(for_ever()).cancel()
            begin(asyncio.sleep(0))
    """
    run(dedent(nothing) + dedent(RUNNERS[runner]), mode="strict").assert_outcomes(passed=1)


@leaves
def test_an_application_that_was_left_running_is_found(run: Run) -> None:
    result = run(
        """
        class Echo(AsyncWebsocketConsumer):
            channel_layer_alias = "default"
            groups = ["room"]

        async def test_it(channel_layer):
            kept.append(WebsocketCommunicator(Echo, "/"))
            await kept[0].connect(20)
            # Not to be told on by Python, too.
            kept[0].__del__ = None
        """
    )
    result.stdout.fnmatch_lines(
        ["  task 'application under test' *", "  channel 'specific.*', in group 'room'"]
    )


def test_tasks_of_others_are_not_the_tests(run: Run) -> None:
    run(
        """
        @pytest.fixture(scope="module")
        async def server():
            task = asyncio.create_task(for_ever())
            yield
            task.cancel()

        @pytest.fixture(scope="module")
        async def late_server():
            task = asyncio.create_task(for_ever())
            yield
            task.cancel()

        @pytest.fixture
        async def before():
            task = asyncio.create_task(for_ever())
            yield
            task.cancel()

        @pytest.fixture
        async def after(channel_layer):
            task = asyncio.create_task(for_ever())
            channel = await channel_layer.new_channel()
            yield
            await channel_layer.close_channel(channel)
            task.cancel()

        def test_with_a_fixture_of_wider_scope_begun_here(channel_layer, request):
            request.getfixturevalue("late_server")

        async def test_with_fixtures(before, channel_layer, server, after):
            pass

        @pytest.mark.allow_channel_leaks
        async def test_that_leaves_a_task(channel_layer):
            begin(for_ever())

        async def test_after_it(channel_layer):
            pass
        """,
        "-o",
        "asyncio_default_fixture_loop_scope=module",
        scope="module",
    ).assert_outcomes(passed=4)


@leaves
def test_what_may_be_left(run: Run) -> None:
    run(
        LEAKS
        + dedent(
            """
            @pytest.mark.allow_channel_leaks(reason="a demonstration")
            async def test_marked(channel_layer):
                await leave()

            async def test_without_the_layer_fixtures(captured_messages):
                register_channel_layer("default", InMemoryChannelLayer())
                await leave()

            @pytest.mark.xfail
            async def test_that_fails_anyway(channel_layer):
                await leave()
                assert False

            def test_of_several_loops(channel_layer):
                channel = asyncio.run(channel_layer.new_channel())
                asyncio.run(channel_layer.send(channel, {"type": "x"}))
                assert asyncio.run(channel_layer.receive(channel)) == {"type": "x"}
                asyncio.run(channel_layer.close_channel(channel))

            async def test_that_closes_the_layer(channel_layer):
                await channel_layer.group_add("room", await channel_layer.new_channel())
                await channel_layer.close()
            """
        ),
        "--strict-markers",
    ).assert_outcomes(passed=4, xfailed=1)


@leaves
def test_layers_that_the_test_registers_are_looked_after(run: Run) -> None:
    result = run(
        """
        earlier = InMemoryChannelLayer()

        async def test_it(channel_layers):
            mine = channel_layers.override("mine", InMemoryChannelLayer())
            register_channel_layer("theirs", InMemoryChannelLayer())
            await earlier.new_channel("not")
            register_channel_layer("earlier", earlier)
            for alias in ("mine", "theirs", "earlier"):
                await get_channel_layer(alias).new_channel()
        """
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([f"* of layer '{each}'" for each in ("mine", "theirs", "earlier")])
    result.stdout.no_fnmatch_line("*'not.*")


@leaves
def test_a_channel_that_nobody_has_any_more_is_not_left(run: Run) -> None:
    """Consumers of Django Channels close theirs by going, at the latest as garbage."""
    result = run(
        """
        import sys

        async def test_it(channel_layer, monkeypatch):
            monkeypatch.setitem(sys.modules, "channels.consumer", sys)
            kept.append(await channel_layer.new_channel("kept"))
            garbage = [await channel_layer.new_channel("gone")]
            garbage.append(garbage)
        """
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["  channel 'kept.*"])
    result.stdout.no_fnmatch_line("*'gone.*")


def test_loops_of_other_threads_are_none_of_the_tests(run: Run) -> None:
    run(
        """
        async def work(layer):
            begin(for_ever())
            await layer.group_send("room", {"type": "x"})

        async def test_it(channel_layer):
            await asyncio.to_thread(asyncio.run, work(channel_layer))
        """
    ).assert_outcomes(passed=1)


@leaves
def test_a_test_may_stop_the_clock_of_its_loop(run: Run) -> None:
    run(
        """
        async def test_it(channel_layer):
            asyncio.get_running_loop().time = lambda: 0
            begin(for_ever())
        """
    ).assert_outcomes(passed=1, errors=1)


def test_the_marker_is_explained(pytester: pytest.Pytester) -> None:
    pytester.makeini(INI.format(mode="auto", scope="function"))
    result = pytester.runpytest_inprocess("--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.allow_channel_leaks(reason=None): *"])


@pytest.mark.timeout(600)  # a few seconds, but of work
def test_a_thousand_tests_leave_nothing(pytester: pytest.Pytester) -> None:
    pytester.makeini(INI.format(mode="auto", scope="function"))
    pytester.makeconftest(
        """
        import asyncio, gc, logging

        left, logged = [], []

        class Handler(logging.Handler):
            def emit(self, record):
                logged.append(record.getMessage())

        logging.getLogger("asyncio").addHandler(Handler())

        def pytest_sessionfinish():
            gc.collect()
            tasks = [each for each in gc.get_objects() if isinstance(each, asyncio.Task)]
            loops = [
                each for each in gc.get_objects()
                if isinstance(each, asyncio.AbstractEventLoop) and not each.is_closed()
            ]
            print(f"{len(tasks)} tasks, {len(loops)} loops, {len(logged)} log records")
        """
    )
    pytester.makepyfile(
        """
        import pytest
        from fast_channels.consumer import AsyncWebsocketConsumer
        from fast_channels.testing import WebsocketCommunicator

        class Echo(AsyncWebsocketConsumer):
            channel_layer_alias = "default"
            groups = ["room"]

            async def receive(self, text_data=None, bytes_data=None):
                await self.channel_layer.group_send("room", {"type": "said", "text": text_data})

            async def said(self, event):
                await self.send(event["text"])

        @pytest.mark.parametrize("number", range(1000))
        async def test_echo(number, channel_layer, assert_sent):
            clients = [WebsocketCommunicator(Echo, "/") for _ in range(2)]
            for client in clients:
                await client.connect(20)
            await clients[0].send_to(str(number))
            for client in clients:
                assert await client.receive_from(20) == str(number)
                await client.disconnect(timeout=20)
            assert_sent("room", type="said", text=str(number))
        """
    )
    result = pytester.runpytest_subprocess("-s", timeout=540)
    result.assert_outcomes(passed=1000)
    result.stdout.fnmatch_lines(["*0 tasks, 0 loops, 0 log records*"])
    assert str(result.stderr) == ""
