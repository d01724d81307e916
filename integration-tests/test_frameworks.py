"""Consumers in applications of five frameworks, with other people's middlewares."""

import asyncio
import gc
import gzip
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from clients import RawClient, closed_with, heard, open_websocket, refusal, say
from fastapi import FastAPI, WebSocketDisconnect
from fastapi.testclient import TestClient
from serving import (
    Server,
    one_disconnect,
    one_logged_error,
    open_stream,
    running_quietly,
    with_nothing_to_say,
)

from fast_channels.consumer import AsyncJsonWebsocketConsumer
from fast_channels.exceptions import ChannelClosed
from fast_channels.layers import (
    InMemoryChannelLayer,
    channel_layers_lifespan,
    register_channel_layer,
    unregister_channel_layer,
)

APPS = {
    "django": ("uvicorn-sansio", "with_django:app"),
    "fastapi": ("uvicorn-sansio", "with_fastapi:app"),
    "starlette": ("uvicorn-wsproto", "with_starlette:app"),
    "litestar": ("uvicorn-sansio", "with_litestar:app"),
    "quart": ("hypercorn", "with_quart:app"),
}
WITH_ROUTES = ("fastapi", "litestar", "starlette")
WITH_VIEWS = ("fastapi", "litestar")
"""Whose views may have dependencies or guards, and then hand their socket to a consumer."""
WITH_MIDDLEWARES = ("fastapi", "starlette")


@pytest.fixture(scope="module", params=APPS)
def framework(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def shared(framework: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    name, app = APPS[framework]
    with running_quietly(name, app, tmp_path_factory.mktemp(framework)) as server:
        yield server


@pytest.fixture
def server(shared: Server) -> Iterator[Server]:
    yield from with_nothing_to_say(shared)


def chat(server: Server, path: str) -> None:
    """Two clients in one room, and what a view of the framework has to say there."""
    room = path.rpartition("/")[2]
    with (
        open_websocket(server, f"{path}?name=Ada&token=secret") as ada,
        open_websocket(server, f"{path}?name=Bob&token=secret") as bob,
    ):
        assert [heard(ada), heard(ada)] == [{"welcome": "Ada", "room": room}, {"joined": "Ada"}]
        assert [heard(bob), heard(bob)] == [{"welcome": "Bob", "room": room}, {"joined": "Bob"}]
        assert heard(ada) == {"joined": "Bob"}
        say(ada, {"say": "hello"})
        assert heard(ada) == heard(bob) == {"name": "Ada", "said": "hello"}
        say(bob, {"shout": "hello, too"})
        assert heard(ada) == heard(bob) == {"shout": "hello, too", "name": "Bob"}
        response, body = server.request("POST", f"/announce/{room}?text=dinner")
        assert (response.status, json.loads(body)) == (200, {"announced": "dinner"})
        assert heard(ada) == heard(bob) == {"name": "announcer", "said": "dinner"}


def test_chat(server: Server) -> None:
    chat(server, "/chat/lobby")


@pytest.mark.parametrize("framework", WITH_ROUTES, indirect=True)
def test_chat_below_a_mounted_path(server: Server) -> None:
    chat(server, "/mounted/attic")


@pytest.mark.parametrize("framework", WITH_VIEWS, indirect=True)
def test_chat_by_a_view_that_refuses_others(server: Server) -> None:
    chat(server, "/view/cellar")
    assert refusal(server, "/view/cellar?name=Eve").status_code == 403


@pytest.mark.parametrize("framework", WITH_ROUTES, indirect=True)
def test_path_params_are_in_scope(server: Server) -> None:
    with open_websocket(server, "/described/7?n=1", headers={"Cookie": "a=b"}) as client:
        seen = heard(client)
    assert seen["path_params"] == {"number": 7}
    assert seen["query"] == {"n": "1"}
    assert seen["cookies"] == {"a": "b"}
    assert refusal(server, "/described/seven").status_code == 403
    with open_websocket(server, "/mounted-alone/some/path") as client:
        assert heard(client)["type"] == "websocket"


@pytest.mark.parametrize("framework", WITH_ROUTES, indirect=True)
def test_http_to_a_mounted_websocket_consumer(server: Server) -> None:
    assert server.request("GET", "/mounted-alone/some/path")[0].status == 426


@pytest.mark.parametrize(
    ("command", "code"), [("close", 1000), ("close 4001", 4001), ("close_soon", 4005)]
)
def test_consumer_closes(server: Server, command: str, code: int) -> None:
    client_id = command.replace(" ", "-")
    with open_websocket(server, f"/ending?id={client_id}") as client:
        client.send(command)
        assert closed_with(client).code == code
    assert one_disconnect(server, client_id) == code


def test_consumer_rejects(server: Server) -> None:
    assert refusal(server, "/ending?id=rejected&connect=reject").status_code == 403
    assert one_disconnect(server, "rejected") == 4403


@pytest.mark.parametrize("command", ["raise", "raise_in_handler"])
def test_exception_in_a_handler_is_1011(server: Server, command: str) -> None:
    with open_websocket(server, f"/ending?id={command}") as client:
        client.send(command)
        assert closed_with(client).code == 1011
    assert one_disconnect(server, command) == 1011
    where = "in receive" if command == "raise" else "in a handler"
    one_logged_error(server, f"LookupError({where!r})")


@pytest.mark.parametrize("waiting", [0, 2])
def test_handler_is_busy_when_the_client_vanishes(server: Server, waiting: int) -> None:
    vanish_while_busy(server, "/ending", f"busy-{waiting}", waiting)


@pytest.mark.parametrize("framework", WITH_VIEWS, indirect=True)
@pytest.mark.parametrize("waiting", [0, 2])
def test_handler_of_a_view_is_busy_when_the_client_vanishes(server: Server, waiting: int) -> None:
    vanish_while_busy(server, "/ending-of-a-view", f"busy-view-{waiting}", waiting)


def vanish_while_busy(server: Server, path: str, client_id: str, waiting: int) -> None:
    with RawClient(server, f"{path}?id={client_id}") as client:
        client.wait_until_accepted()
        client.send("busy")
        server.reports.wait_for("busy", id=client_id)
        for _ in range(waiting):
            client.send("waits behind it")
        server.control()  # an RST would discard what is not read by then
        client.reset()
    server.control(release=client_id)
    assert one_disconnect(server, client_id) in (1005, 1006)


def test_request_and_response(server: Server, framework: str) -> None:
    headers = {"Accept-Encoding": "gzip", "Origin": "https://page.example", "Cookie": "a=1"}
    body = b"x" * 100_000
    response, answer = server.request("POST", "/mirror?id=m", body, headers)
    assert response.status == 201
    if framework in WITH_MIDDLEWARES:
        assert response.headers["X-Middleware"] == "was here"
        assert response.headers["Access-Control-Allow-Origin"] == "https://page.example"
        assert response.headers["Content-Encoding"] == "gzip"
        answer = gzip.decompress(answer)
    assert json.loads(answer) == {
        "method": "POST",
        "size": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "cookies": {"a": "1"},
    }
    assert len(server.reports.wait_for("http disconnect", id="m")) == 1


def test_stream_goes_on_by_events_of_the_layer(server: Server) -> None:
    http, response = open_stream(server, "stream")
    for text in ("one", "two"):
        server.control(send="stream", message={"type": "stream.part", "text": text})
        assert (response.readline(), response.readline()) == (f"data: {text}\n".encode(), b"\n")
    server.control(send="stream", message={"type": "stream.end"})
    assert response.read() == b"data: end\n\n"
    http.close()
    assert len(server.reports.wait_for("http disconnect", id="stream")) == 1


def test_client_leaves_a_stream(server: Server) -> None:
    http, response = open_stream(server, "left")
    response.close()
    http.close()
    (report,) = server.reports.wait_for("http disconnect", id="left")
    assert report["times"] == 1


def test_exception_before_the_headers_is_500(server: Server) -> None:
    response, body = server.request("GET", "/faulty?id=faulty")
    assert (response.status, body) == (500, b"Internal Server Error")
    server.reports.wait_for("http disconnect", id="faulty")
    one_logged_error(server, "LookupError('before the headers')")


# In the test's own process.


class Lobby(AsyncJsonWebsocketConsumer):
    channel_layer_alias = "test-client"
    groups = ["lobby"]

    async def receive_json(self, content: Any, /) -> None:
        await self.channel_layer.group_send("lobby", {"type": "lobby.news", "text": content})

    async def lobby_news(self, event: dict[str, Any]) -> None:
        await self.send_json({"news": event["text"]})


@pytest.fixture
def layer() -> Iterator[InMemoryChannelLayer]:
    layer = InMemoryChannelLayer()
    register_channel_layer("test-client", layer)
    yield layer
    unregister_channel_layer("test-client")
    gc.collect()  # what the test client of an old Starlette leaves open, while it is expected


left_open = pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning")


@left_open
def test_test_client_of_fastapi(layer: InMemoryChannelLayer) -> None:
    app = FastAPI(lifespan=channel_layers_lifespan)
    app.router.add_websocket_route("/lobby", Lobby.as_asgi())
    with (
        TestClient(app) as client,
        client.websocket_connect("/lobby") as ada,
        client.websocket_connect("/lobby") as bob,
    ):
        ada.send_json("hello")
        assert ada.receive_json() == bob.receive_json() == {"news": "hello"}
        bob.send_text("not JSON")
        with pytest.raises(WebSocketDisconnect) as closed:
            bob.receive_json()
        assert closed.value.code == 1007
        ada.send_json("still here")
        assert ada.receive_json() == {"news": "still here"}


@left_open
def test_lifespan_closes_the_layers(layer: InMemoryChannelLayer) -> None:
    app = FastAPI(lifespan=channel_layers_lifespan)

    @app.post("/open")
    async def open_channel() -> str:
        return await layer.new_channel()

    with TestClient(app) as client:
        channel = client.post("/open").json()
        asyncio.run(layer.send(channel, {"type": "before.the.end"}))
        assert asyncio.run(layer.receive(channel)) == {"type": "before.the.end"}
    with pytest.raises(ChannelClosed):
        asyncio.run(layer.receive(channel))
