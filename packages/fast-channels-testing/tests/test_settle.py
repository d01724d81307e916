"""`settle()` returns when nothing is in flight: not earlier, and as soon as that is so."""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from fast_channels.consumer import (
    AsyncConsumer,
    AsyncSSEConsumer,
    AsyncWebsocketConsumer,
    Outbox,
    concurrent,
)
from fast_channels.layers import (
    BaseChannelLayer,
    InMemoryChannelLayer,
    get_channel_layer,
    register_channel_layer,
    unregister_channel_layer,
)
from fast_channels.types import ASGIApp, Event, Message, Receive, Scope, Send
from fast_channels_testing import (
    CommunicatorTimeout,
    FaultyChannelLayer,
    HttpCommunicator,
    WebsocketCommunicator,
)

DEADLINE = 20


class PulledLayer(BaseChannelLayer):
    """A layer that a consumer has to ask for its messages; each call takes turns of the loop."""

    def __init__(self) -> None:
        super().__init__()
        self._inner = InMemoryChannelLayer()

    async def send(self, channel: str, message: Mapping[str, Any]) -> None:
        await turns(2)
        await self._inner.send(channel, message)

    async def receive(self, channel: str) -> Message:
        await turns(5)
        message = await self._inner.receive(channel)
        await turns(5)
        return message

    async def new_channel(self, prefix: str = "specific") -> str:
        return await self._inner.new_channel(prefix)

    async def close_channel(self, channel: str) -> None:
        await self._inner.close_channel(channel)

    async def group_add(self, group: str, channel: str) -> None:
        await self._inner.group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        await self._inner.group_discard(group, channel)

    async def group_send(self, group: str, message: Mapping[str, Any]) -> None:
        await self._inner.group_send(group, message)

    async def flush(self) -> None:
        await self._inner.flush()

    async def close(self) -> None:
        await self._inner.close()


def faulty_layer() -> FaultyChannelLayer:
    """A wrapped layer, which fills the consumers' mailboxes its own way."""
    return FaultyChannelLayer(InMemoryChannelLayer())


@pytest.fixture(params=[InMemoryChannelLayer, PulledLayer, faulty_layer], autouse=True)
def layer(request: pytest.FixtureRequest) -> Iterator[BaseChannelLayer]:
    register_channel_layer("settle", request.param())
    yield get_channel_layer("settle")
    unregister_channel_layer("settle")


async def turns(number: int = 20) -> None:
    """Let others run, as whatever a handler awaits does."""
    for _ in range(number):
        await asyncio.sleep(0)


class Worker(AsyncWebsocketConsumer):
    """Does what it is told in its own time; `done` is what it has done."""

    channel_layer_alias = "settle"
    groups = ("room",)

    async def connect(self) -> None:
        self.done = list[str]()
        self.stalled = asyncio.Event()
        self.scope["state"]["worker"] = self
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await turns()
        self.done.append(f"frame {text_data}")
        await self.send(text_data)

    async def slowly(self, event: Event) -> None:
        await turns()
        self.done.append(f"slowly {event['n']}")
        await self.send(str(event["n"]))

    @concurrent(limit=2)
    async def beside(self, event: Event) -> None:
        await turns(event["n"] * 10)
        self.done.append(f"beside {event['n']}")

    @concurrent(key=lambda event: event["key"])
    async def in_order(self, event: Event) -> None:
        await turns()
        self.done.append(f"in order {event['n']}")

    def blocking(self, event: Event) -> None:
        # A timer of its own, so that the thread is at work for as long as the loop has nothing.
        threading.Event().wait(0.05)
        self.done.append("blocking")

    async def chain(self, event: Event) -> None:
        await turns(event["n"])
        self.done.append(f"chain {event['n']}")
        if event["n"]:
            await self.channel_layer.send(self.channel_name, {"type": "chain", "n": event["n"] - 1})

    async def pass_on(self, event: Event) -> None:
        """Ping-pong over groups: the last one to be told is somebody else."""
        await turns()
        self.done.append(f"pass on {event['n']}")
        if event["n"]:
            to = event["groups"]
            message = {"type": "pass.on", "n": event["n"] - 1, "groups": [*to[1:], to[0]]}
            await self.channel_layer.group_send(to[0], message)

    async def stall(self, event: Event) -> None:
        self.stalled.set()
        await asyncio.Event().wait()

    async def fail(self, event: Event) -> None:
        await turns()
        raise ZeroDivisionError("in the handler")

    async def leave(self, event: Event) -> None:
        await self.close()

    async def disconnect(self, code: int, /) -> None:
        await turns()
        self.done.append(f"disconnect {code}")


def done(ws: WebsocketCommunicator) -> list[str]:
    worker: Worker = ws.scope["state"]["worker"]
    return worker.done


async def stalled(ws: WebsocketCommunicator) -> None:
    worker: Worker = ws.scope["state"]["worker"]
    async with asyncio.timeout(DEADLINE):
        await worker.stalled.wait()


def worker(consumer: type[AsyncConsumer] = Worker) -> WebsocketCommunicator:
    return WebsocketCommunicator(consumer, "/")


# Of one connection


async def test_frames_of_the_test(layer: BaseChannelLayer) -> None:
    async with worker() as ws:
        for text in "abc":
            await ws.send_text(text)
        await ws.settle(DEADLINE)
        assert done(ws) == ["frame a", "frame b", "frame c"]
        assert [await ws.receive_text(timeout=0) for _ in "abc"] == ["a", "b", "c"]


async def test_messages_of_the_layer(layer: BaseChannelLayer) -> None:
    async with worker() as ws:
        for n in range(3):
            await layer.group_send("room", {"type": "slowly", "n": n})
        await ws.settle(DEADLINE)
        assert [await ws.receive_text(timeout=0) for _ in range(3)] == ["0", "1", "2"]
        await ws.settle(timeout=0)


async def test_concurrent_handlers_and_those_that_wait_for_them(layer: BaseChannelLayer) -> None:
    async with worker() as ws:
        for n in (5, 1, 1, 3):
            await layer.group_send("room", {"type": "beside", "n": n})
        for n in range(4):
            await layer.group_send("room", {"type": "in.order", "n": n, "key": n % 2})
        await ws.settle(DEADLINE)
        assert sorted(done(ws)) == sorted(
            [f"beside {n}" for n in (5, 1, 1, 3)] + [f"in order {n}" for n in range(4)]
        )


async def test_a_handler_in_a_thread(layer: BaseChannelLayer) -> None:
    async with worker() as ws:
        await layer.group_send("room", {"type": "blocking"})
        await ws.settle(DEADLINE)
        assert done(ws) == ["blocking"]


async def test_handlers_that_make_more_work(layer: BaseChannelLayer) -> None:
    async with worker() as ws:
        await layer.group_send("room", {"type": "chain", "n": 10})
        await ws.settle(DEADLINE)
        assert done(ws) == [f"chain {n}" for n in range(10, -1, -1)]


async def test_a_message_from_another_thread() -> None:
    unregister_channel_layer("settle")
    register_channel_layer("settle", shared := InMemoryChannelLayer())
    async with worker() as ws:

        def send() -> None:
            asyncio.run(shared.group_send("room", {"type": "slowly", "n": 1}))

        thread = threading.Thread(target=send)
        thread.start()
        thread.join()
        await ws.settle(DEADLINE)
        assert await ws.receive_text(timeout=0) == "1"


@pytest.mark.parametrize("through", ["handler", "broadcast"])
async def test_frames_in_an_outbox(layer: BaseChannelLayer, through: str) -> None:
    class Slow(Worker):
        outbox = Outbox()

    async def slow_server(scope: Scope, receive: Receive, send: Send) -> None:
        async def slow_send(event: Any) -> None:
            if event["type"] == "websocket.send":
                await turns()
            await send(event)

        await Slow.as_asgi()(scope, receive, slow_send)

    async with WebsocketCommunicator(slow_server, "/") as ws:
        for n in range(3):
            message: Message = {"type": "slowly", "n": n}
            if through == "broadcast":
                message = {"type": "websocket.send", "text": str(n)}
            await layer.group_send("room", message)
        await ws.settle(DEADLINE)
        assert [await ws.receive_text(timeout=0) for _ in range(3)] == ["0", "1", "2"]


async def test_middleware_that_holds_a_frame_back(layer: BaseChannelLayer) -> None:
    async def slow_client(scope: Scope, receive: Receive, send: Send) -> None:
        async def slow_receive() -> Any:
            event = await receive()
            await turns()
            return event

        await Worker.as_asgi()(scope, slow_receive, send)

    async with WebsocketCommunicator(slow_client, "/") as ws:
        await ws.send_text("a")
        await ws.send_text("b")
        await ws.settle(DEADLINE)
        assert done(ws) == ["frame a", "frame b"]


async def test_an_end_that_is_only_about_to_begin() -> None:
    """The layer ends the connection of a full channel in the next turn of the event loop."""

    class Strict(Worker):
        overflow = "close"

    unregister_channel_layer("settle")
    register_channel_layer("settle", layer := faulty_layer())
    async with worker(Strict) as ws:
        layer.inject("full")
        await layer.group_send("room", {"type": "slowly", "n": 1})
        await ws.settle(DEADLINE)
        assert done(ws) == ["disconnect 1013"]


async def test_an_application_that_ends_is_settled_when_it_has_ended(
    layer: BaseChannelLayer,
) -> None:
    async with worker() as ws:
        await layer.group_send("room", {"type": "leave"})
        await ws.settle(DEADLINE)
        assert done(ws) == ["disconnect 1000"]
        await ws.settle(timeout=0)


async def test_an_error_in_a_handler_is_raised(layer: BaseChannelLayer) -> None:
    async with worker() as ws:
        await layer.group_send("room", {"type": "fail"})
        with pytest.raises(ZeroDivisionError, match="in the handler"):
            await ws.settle(DEADLINE)
        await ws.settle(DEADLINE)
        assert done(ws) == ["disconnect 1011"]


async def test_an_error_is_raised_whatever_else_goes_on(layer: BaseChannelLayer) -> None:
    class Other(Worker):
        groups = ("other",)

    async with worker() as ws, worker(Other) as other:
        await layer.group_send("other", {"type": "stall"})
        await layer.group_send("room", {"type": "fail"})
        with pytest.raises(ZeroDivisionError, match="in the handler"):
            await ws.settle(timeout=None)
        await other.stop()


async def test_a_handler_that_goes_on_for_long_is_shown_and_not_cancelled(
    layer: BaseChannelLayer,
) -> None:
    go_on = asyncio.Event()

    class Waiting(Worker):
        async def wait(self, event: Event) -> None:
            self.stalled.set()
            await go_on.wait()
            self.done.append("waited")

    async with worker(Waiting) as ws:
        await layer.group_send("room", {"type": "wait"})
        await stalled(ws)
        with pytest.raises(
            CommunicatorTimeout,
            match=r"(?s)a moment with nothing in flight did not come within 0.05 s; .* left running"
            r".*<- websocket\.accept.*  Waiting: .*test_settle\.py:\d+ in Waiting\.wait -> ",
        ):
            await ws.settle(timeout=0.05)
        go_on.set()
        await ws.settle(DEADLINE)
        assert done(ws) == ["waited"]


async def test_a_settled_consumer_has_its_whole_life_before_it(layer: BaseChannelLayer) -> None:
    async with worker() as ws:
        for round_ in range(50):
            await layer.group_send("room", {"type": "slowly", "n": round_})
            await ws.settle(DEADLINE)
            assert await ws.receive_text(timeout=0) == str(round_)


# Of several


async def test_one_connection_makes_work_for_another(layer: BaseChannelLayer) -> None:
    """To settle the one means to settle both, whichever has something in flight."""

    class Other(Worker):
        groups = ("other",)

    async with worker() as ada, worker(Other) as bob:
        for ws in (bob, ada):
            message = {"type": "pass.on", "n": 5, "groups": ["other", "room"]}
            await layer.group_send("room", message)
            await ws.settle(DEADLINE)
            assert done(ada) == ["pass on 5", "pass on 3", "pass on 1"]
            assert done(bob) == ["pass on 4", "pass on 2", "pass on 0"]
            done(ada).clear()
            done(bob).clear()


async def test_another_one_that_is_busy_is_named(layer: BaseChannelLayer) -> None:
    class Other(Worker):
        groups = ("other",)

    async with worker() as ada:
        bob = WebsocketCommunicator(Other, "/the/other")
        await bob.connect()
        await layer.group_send("other", {"type": "stall"})
        await stalled(bob)
        await layer.group_send("room", {"type": "slowly", "n": 1})
        with pytest.raises(CommunicatorTimeout) as caught:
            await ada.settle(timeout=0.05)
        (note,) = caught.value.__notes__
        assert note.startswith("'/the/other' has something in flight, in the same event loop")
        assert "Worker.stall -> " in note
        await layer.group_send("room", {"type": "slowly", "n": 2})
        await ada.settle(DEADLINE, alone=True)
        assert done(ada) == ["slowly 1", "slowly 2"]
        await bob.stop()
        await ada.settle(DEADLINE)


async def test_applications_of_other_event_loops_do_not_matter() -> None:
    unregister_channel_layer("settle")
    register_channel_layer("settle", shared := InMemoryChannelLayer())
    busy, over = threading.Event(), threading.Event()

    async def elsewhere() -> None:
        ws = worker()
        await ws.connect()
        await shared.group_send("room", {"type": "stall"})
        await stalled(ws)
        busy.set()
        over.wait(DEADLINE)
        await ws.stop()

    thread = threading.Thread(target=asyncio.run, args=(elsewhere(),))
    thread.start()
    try:
        await asyncio.to_thread(busy.wait, DEADLINE)
        async with worker() as ws:
            await ws.send_text("a")
            await ws.settle(DEADLINE)
            assert done(ws) == ["frame a"]
        assert thread.is_alive()
    finally:
        over.set()
        thread.join()


# Of other applications


async def slow_echo(scope: Scope, receive: Receive, send: Send) -> None:
    while (event := await receive())["type"] != "websocket.disconnect":
        await turns()
        if event["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        else:
            await send({**event, "type": "websocket.send"})


async def test_an_application_that_is_no_consumer() -> None:
    async with WebsocketCommunicator(slow_echo, "/") as ws:
        await ws.send_text("a")
        await ws.send_text("b")
        await ws.settle(DEADLINE)
        assert await ws.receive_text(timeout=0) == "a"
        assert await ws.receive_text(timeout=0) == "b"


async def test_settling_starts_the_application() -> None:
    ws = WebsocketCommunicator(slow_echo, "/")
    await ws.settle(DEADLINE)
    assert await ws.connect() == (True, None)
    await ws.disconnect()


@pytest.mark.parametrize("rest", ["silence", "stream"])
async def test_an_application_that_never_comes_to_rest(rest: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            if rest == "stream":
                await send({"type": "websocket.send", "text": "x"})
            else:
                await asyncio.sleep(3600)

    ws = WebsocketCommunicator(app, "/")
    await ws.connect()
    with pytest.raises(CommunicatorTimeout, match=r"test_settle\.py:\d+ in app"):
        await ws.settle(timeout=0.05)
    await ws.stop()


class News(AsyncSSEConsumer):
    channel_layer_alias = "settle"
    groups = ["news"]

    async def story(self, event: Event) -> None:
        await turns()
        await self.send_event(event["text"])


async def test_an_event_stream(layer: BaseChannelLayer) -> None:
    async with HttpCommunicator(News, "GET", "/") as client:
        assert (await client.get_response_start())["status"] == 200
        for text in "ab":
            await layer.group_send("news", {"type": "story", "text": text})
        await client.settle(DEADLINE)
        assert await client.receive_body_chunk(timeout=0) == b"data: a\n\n"
        assert await client.receive_body_chunk(timeout=0) == b"data: b\n\n"


async def test_a_request_is_sent_by_settling() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await turns()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"done"})

    client = HttpCommunicator(app, "GET", "/")
    await client.settle(DEADLINE)
    assert (await client.get_response(timeout=0))["body"] == b"done"


async def test_an_abandoned_application_is_not_waited_for() -> None:
    """Each test has an event loop of its own, but several may share one."""

    async def stalls(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await asyncio.Event().wait()

    app: ASGIApp = stalls
    abandoned = WebsocketCommunicator(app, "/")
    await abandoned.send_input({"type": "websocket.connect"})
    with pytest.warns(ResourceWarning):
        del abandoned
    async with WebsocketCommunicator(slow_echo, "/") as ws:
        await ws.settle(DEADLINE)
