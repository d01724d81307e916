"""The task, its owner, its errors: what all communicators share."""

import asyncio
import contextvars
import gc
import inspect
import unittest
import warnings
import weakref
from collections.abc import MutableMapping
from typing import Any

import pytest

from fast_channels.exceptions import ConnectionStateError, FastChannelsError
from fast_channels.types import Receive, Scope, Send
from fast_channels_testing import (
    ApplicationCommunicator,
    ApplicationEnded,
    CommunicatorTimeout,
    HttpCommunicator,
    WebsocketCommunicator,
)
from fast_channels_testing.application import DEFAULT_TIMEOUT

SCOPE = {"type": "test"}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Returns every event, until one says stop or boom."""
    while True:
        event = await receive()
        if event["type"] == "stop":
            return
        if event["type"] == "boom":
            raise KeyError("boom")
        await send(event)


async def wait_for_ever(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.Event().wait()


async def test_events_go_in_and_out_in_order() -> None:
    communicator = ApplicationCommunicator(echo, SCOPE)
    for number in range(3):
        await communicator.send_input({"type": "n", "number": number})
    assert [(await communicator.receive_output())["number"] for _ in range(3)] == [0, 1, 2]
    await communicator.send_input({"type": "stop"})
    await communicator.wait()


async def test_the_application_starts_with_the_first_call_and_once() -> None:
    runs = list[Scope]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        runs.append(scope)
        await echo(scope, receive, send)

    communicator = ApplicationCommunicator(app, SCOPE)
    communicator.scope["user"] = "ada"
    await asyncio.sleep(0)
    assert runs == []
    communicator.start()
    communicator.start()
    await communicator.send_input({"type": "stop"})
    await communicator.wait()
    assert [scope["user"] for scope in runs] == ["ada"]


async def test_the_given_scope_is_not_changed() -> None:
    scope: dict[str, Any] = {"type": "test", "extensions": {"mine": {}}}
    communicator = ApplicationCommunicator(echo, scope)
    assert scope == {"type": "test", "extensions": {"mine": {}}}
    assert communicator.scope["extensions"].keys() == {"mine", "fast_channels.testing"}


async def test_events_are_copies() -> None:
    sent = {"type": "n", "text": "as sent"}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        event = await receive()
        assert event["text"] == "as sent"
        await send(event)
        event["text"] = "changed by the application"

    communicator = ApplicationCommunicator(app, SCOPE)
    await communicator.send_input(sent)
    sent["text"] = "changed by the test"
    await communicator.wait()
    assert (await communicator.receive_output())["text"] == "as sent"


async def test_the_test_s_context_variables_do_not_reach_the_application() -> None:
    variable = contextvars.ContextVar("variable", default="empty")
    variable.set("of the test")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": variable.get()})

    communicator = ApplicationCommunicator(app, SCOPE)
    assert await communicator.receive_output() == {"type": "empty"}


@pytest.mark.parametrize("event", ["text", {"no": "type"}, {"type": 1}])
async def test_an_event_that_is_none_is_refused_on_both_sides(event: Any) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(event)

    communicator = ApplicationCommunicator(app, SCOPE)
    with pytest.raises(TypeError, match="to the application"):
        await communicator.send_input(event)
    with pytest.raises(TypeError, match="to the server"):
        await communicator.wait()


async def test_what_is_no_application_is_refused() -> None:
    with pytest.raises(TypeError, match="expected an ASGI application or a consumer class, got 1"):
        ApplicationCommunicator(1, SCOPE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_a_class_with_as_asgi_is_wrapped() -> None:
    class Consumer:
        @classmethod
        def as_asgi(cls, **initkwargs: Any) -> "Consumer":
            return cls()

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": type(self).__name__})

    for application in (Consumer, Consumer.as_asgi()):
        communicator = ApplicationCommunicator(application, SCOPE)
        assert await communicator.receive_output() == {"type": "Consumer"}
        await communicator.wait()


# Timeouts


async def test_a_timeout_does_not_cancel_the_application() -> None:
    communicator = ApplicationCommunicator(echo, SCOPE)
    with pytest.raises(CommunicatorTimeout) as caught:
        await communicator.receive_output(timeout=0.01)
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, FastChannelsError)
    await communicator.send_input({"type": "still there"})
    assert await communicator.receive_output() == {"type": "still there"}
    with pytest.raises(CommunicatorTimeout):
        await communicator.wait(timeout=0.01)
    await communicator.send_input({"type": "stop"})
    await communicator.wait()


async def test_receive_nothing_answers_as_soon_as_it_knows() -> None:
    communicator = ApplicationCommunicator(echo, SCOPE)
    assert await communicator.receive_nothing(timeout=0.01)
    await communicator.send_input({"type": "x"})
    # An hour each: these three do not wait for the time to pass.
    assert not await communicator.receive_nothing(timeout=3600)
    assert not await communicator.receive_nothing(timeout=3600, interval=1)
    assert await communicator.receive_output() == {"type": "x"}
    await communicator.send_input({"type": "stop"})
    assert await communicator.receive_nothing(timeout=3600)


async def test_without_a_timeout_a_wait_goes_on_until_there_is_something() -> None:
    communicator = ApplicationCommunicator(echo, SCOPE)
    waiting = asyncio.create_task(communicator.receive_output(timeout=None))
    await asyncio.sleep(0)
    await communicator.send_input({"type": "late"})
    assert await waiting == {"type": "late"}
    await communicator.stop()


async def test_an_ended_application_is_not_waited_for() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "last"})

    communicator = ApplicationCommunicator(app, SCOPE)
    assert await communicator.receive_output() == {"type": "last"}
    with pytest.raises(ApplicationEnded, match="application: it returned"):
        await communicator.receive_output(timeout=3600)
    with pytest.raises(ApplicationEnded, match="'more' cannot be sent"):
        await communicator.send_input({"type": "more"})


async def test_cancelling_the_test_s_wait_loses_no_event() -> None:
    communicator = ApplicationCommunicator(echo, SCOPE)
    waiting = asyncio.create_task(communicator.receive_output())
    await asyncio.sleep(0)
    waiting.cancel()
    # The event arrives in the turn in which the wait is cancelled.
    await communicator.send_input({"type": "kept"})
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await communicator.receive_output() == {"type": "kept"}
    await communicator.stop()


async def test_two_waits_at_once_get_one_event_each() -> None:
    communicator = ApplicationCommunicator(echo, SCOPE)
    waits = [asyncio.create_task(communicator.receive_output()) for _ in range(2)]
    await asyncio.sleep(0)
    for kind in ("a", "b"):
        await communicator.send_input({"type": kind})
    assert [event["type"] for event in await asyncio.gather(*waits)] == ["a", "b"]
    await communicator.stop()


async def test_an_application_that_never_waits_does_not_stop_the_test() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while True:
            await send({"type": "flood"})

    communicator = ApplicationCommunicator(app, SCOPE)
    with pytest.raises(CommunicatorTimeout, match="earlier ones left out"):
        await communicator.wait(timeout=0.05)
    await communicator.stop()


# Errors of the application


async def test_an_error_reaches_the_wait_that_is_under_way() -> None:
    communicator = ApplicationCommunicator(echo, SCOPE)
    waiting = asyncio.create_task(communicator.receive_output(timeout=3600))
    await asyncio.sleep(0)
    await communicator.send_input({"type": "boom"})
    with pytest.raises(KeyError) as caught:
        await waiting
    assert "echo" in [entry.name for entry in caught.traceback]


@pytest.mark.parametrize(
    "call", ["send_input", "receive_output", "receive_nothing", "wait", "stop"]
)
async def test_an_error_reaches_the_next_call_once(call: str) -> None:
    error = KeyError("the same object")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "before"})
        raise error

    communicator = ApplicationCommunicator(app, SCOPE)
    communicator.start()
    await asyncio.sleep(0)
    arguments = [{"type": "x"}] if call == "send_input" else []
    with pytest.raises(KeyError) as caught:
        await getattr(communicator, call)(*arguments)
    assert caught.value is error
    assert await communicator.receive_output() == {"type": "before"}
    await communicator.wait()


async def test_stop_raises_at_once_what_is_known_and_may_go_unawaited() -> None:
    communicator = ApplicationCommunicator(echo, SCOPE)
    await communicator.send_input({"type": "boom"})
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(KeyError):
        communicator.stop()
    communicator.stop()


async def test_errors_can_be_kept_from_the_test() -> None:
    communicator = ApplicationCommunicator(echo, SCOPE, raise_app_exceptions=False)
    await communicator.send_input({"type": "boom"})
    await communicator.wait()
    with pytest.raises(ApplicationEnded, match=r"!! KeyError: 'boom', raised at \S+:\d+ in echo"):
        await communicator.receive_output()


async def test_an_error_told_by_a_consumer_reaches_the_test_once() -> None:
    error = ValueError("in a handler")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        probe = scope["extensions"]["fast_channels.testing"]
        probe.application_error(error)
        await receive()
        raise error

    communicator = ApplicationCommunicator(app, SCOPE)
    waiting = asyncio.create_task(communicator.receive_output(timeout=3600))
    await communicator.send_input({"type": "first"})
    with pytest.raises(ValueError, match="in a handler") as caught:
        await waiting
    assert caught.value is error
    await communicator.send_input({"type": "second"})
    await communicator.wait()


async def test_wait_lets_the_application_end_before_it_raises_a_consumer_s_error() -> None:
    ended = list[str]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"]["fast_channels.testing"].application_error(ValueError("x"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        ended.append("yes")

    communicator = ApplicationCommunicator(app, SCOPE)
    with pytest.raises(ValueError, match="x"):
        await communicator.wait()
    assert ended == ["yes"]


async def test_an_application_that_cancels_itself_has_ended() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise asyncio.CancelledError

    communicator = ApplicationCommunicator(app, SCOPE)
    with pytest.raises(ApplicationEnded, match="application: it was cancelled"):
        await communicator.receive_output()
    await communicator.wait()


# The end


async def test_stop_cancels_and_waits_for_the_clean_up() -> None:
    cleaned = list[str]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await receive()
        finally:
            await asyncio.sleep(0)
            cleaned.append("yes")

    communicator = ApplicationCommunicator(app, SCOPE)
    communicator.start()
    await asyncio.sleep(0)
    await communicator.stop()
    assert cleaned == ["yes"]
    await communicator.stop()


async def test_stop_before_the_start_does_nothing() -> None:
    await ApplicationCommunicator(echo, SCOPE).stop()


@pytest.mark.parametrize("exceptions", [True, False])
async def test_stop_raises_what_the_clean_up_raised_if_asked(exceptions: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await receive()
        finally:
            raise OSError("clean-up failed")

    communicator = ApplicationCommunicator(app, SCOPE)
    communicator.start()
    await asyncio.sleep(0)
    if exceptions:
        with pytest.raises(OSError, match="clean-up failed"):
            await communicator.stop()
    else:
        await communicator.stop(exceptions=False)


async def test_stop_says_so_when_the_application_does_not_end() -> None:
    release = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await receive()
        finally:
            await release.wait()

    communicator = ApplicationCommunicator(app, SCOPE)
    communicator.start()
    await asyncio.sleep(0)
    with pytest.raises(CommunicatorTimeout, match="although it was cancelled"):
        await communicator.stop(timeout=0.01)
    release.set()
    await communicator.wait()


async def test_leaving_the_context_stops_the_application() -> None:
    async with ApplicationCommunicator(wait_for_ever, SCOPE) as communicator:
        assert await communicator.receive_nothing(timeout=0.01)
    with pytest.raises(ApplicationEnded, match="application: it was cancelled"):
        await communicator.receive_output()


async def test_leaving_the_context_raises_what_the_test_has_not_seen() -> None:
    with pytest.raises(KeyError, match="boom"):
        async with ApplicationCommunicator(echo, SCOPE) as communicator:
            await communicator.send_input({"type": "boom"})
            await asyncio.sleep(0)
            await asyncio.sleep(0)


async def test_an_error_of_the_block_comes_first_and_carries_the_application_s() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise KeyError("from the application")

    with pytest.raises(ZeroDivisionError) as caught:
        async with ApplicationCommunicator(app, SCOPE):
            await asyncio.sleep(0)
            raise ZeroDivisionError
    assert caught.value.__notes__ == [
        "the application also raised KeyError('from the application')"
    ]


async def test_a_cancelled_block_leaves_no_task() -> None:
    inside = asyncio.Event()

    async def body() -> None:
        async with ApplicationCommunicator(wait_for_ever, SCOPE) as communicator:
            inside.set()
            await communicator.receive_output(timeout=None)

    task = asyncio.create_task(body())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_dropped_communicator_warns_and_its_task_is_stopped() -> None:
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await receive()
        finally:
            ended.set()

    communicator = ApplicationCommunicator(app, SCOPE)
    communicator.start()
    await asyncio.sleep(0)
    with pytest.warns(ResourceWarning, match="was dropped while its application was running"):
        del communicator
        gc.collect()
    async with asyncio.timeout(10):
        await ended.wait()


async def test_a_dropped_communicator_warns_of_an_error_that_nobody_saw() -> None:
    communicator = ApplicationCommunicator(echo, SCOPE)
    await communicator.send_input({"type": "boom"})
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.warns(ResourceWarning, match=r"the test never saw KeyError\('boom'\)"):
        del communicator
        gc.collect()


@pytest.mark.parametrize("how", ["never started", "ended", "stopped"])
async def test_a_communicator_that_owes_nothing_is_freed_in_silence(how: str) -> None:
    communicator = ApplicationCommunicator(echo, SCOPE)
    if how == "ended":
        await communicator.send_input({"type": "stop"})
        await communicator.wait()
    elif how == "stopped":
        communicator.start()
        communicator.stop()
    gone = weakref.ref(communicator)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del communicator
        gc.collect()
    assert gone() is None
    assert caught == []


def test_it_works_under_asyncio_run_and_leaves_no_task() -> None:
    async def main() -> MutableMapping[str, Any]:
        async with ApplicationCommunicator(echo, SCOPE) as communicator:
            await communicator.send_input({"type": "run"})
            event = await communicator.receive_output()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return event

    assert asyncio.run(main()) == {"type": "run"}


def test_another_event_loop_is_refused_with_a_reason() -> None:
    communicator = ApplicationCommunicator(wait_for_ever, SCOPE)

    async def first() -> None:
        communicator.start()

    async def second() -> None:
        with pytest.raises(ConnectionStateError, match="on another event loop"):
            await communicator.receive_output()

    asyncio.run(first())
    asyncio.run(second())


class TestUnderUnittest(unittest.IsolatedAsyncioTestCase):
    async def test_round_trip(self) -> None:
        async with ApplicationCommunicator(echo, SCOPE) as communicator:
            await communicator.send_input({"type": "unittest"})
            self.assertEqual(await communicator.receive_output(), {"type": "unittest"})


COMMUNICATORS = [ApplicationCommunicator, HttpCommunicator, WebsocketCommunicator]


@pytest.mark.parametrize("communicator", COMMUNICATORS)
def test_every_wait_ends_by_default(communicator: type[ApplicationCommunicator]) -> None:
    defaults = {
        name: inspect.signature(method).parameters["timeout"].default
        for name, method in inspect.getmembers(communicator, inspect.isfunction)
        if not name.startswith("_") and not name.startswith("send_") and name != "start"
    }
    assert {"settle", "wait", "stop", "receive_output"} <= defaults.keys()
    assert 0 < defaults.pop("receive_nothing") <= 1
    assert [name for name, default in defaults.items() if default is not DEFAULT_TIMEOUT] == []
    assert inspect.signature(communicator).parameters["timeout"].default == 1


def impatient_communicators() -> list[ApplicationCommunicator]:
    return [
        ApplicationCommunicator(wait_for_ever, SCOPE, timeout=0.01),
        HttpCommunicator(wait_for_ever, "GET", "/", timeout=0.01),
        WebsocketCommunicator(wait_for_ever, "/", timeout=0.01),
    ]


async def test_every_wait_takes_as_long_as_the_communicator_says() -> None:
    for communicator in impatient_communicators():
        communicator.start()
        names = ("connect", "get_response", "get_response_start", "receive_event")
        waits = [getattr(communicator, name) for name in names if hasattr(communicator, name)]
        for wait in (*waits, communicator.receive_output, communicator.settle, communicator.wait):
            with pytest.raises(CommunicatorTimeout, match=r"did not come within 0\.01 s"):
                await wait()
            with pytest.raises(CommunicatorTimeout, match=r"did not come within 0\.02 s"):
                await wait(timeout=0.02)
        communicator.timeout = 20
        await communicator.stop()


async def test_a_block_begins_and_ends_within_the_communicator_s_timeout() -> None:
    """Also where nothing is answered, and its client's leaving is not heard."""
    for communicator in impatient_communicators()[1:]:
        with pytest.raises(CommunicatorTimeout, match=r"the end of the app.* within 0\.01 s"):
            async with communicator:
                communicator.scope["has begun"] = True
                assert not communicator.ended
        assert "has begun" in communicator.scope
