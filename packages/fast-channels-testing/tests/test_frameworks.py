"""Whole applications of Starlette and FastAPI, as their users write them."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect

from fast_channels_testing import (
    CommunicatorTimeout,
    HttpCommunicator,
    WebsocketClosed,
    WebsocketCommunicator,
)


async def echo(websocket: WebSocket) -> None:
    await websocket.accept(subprotocol=next(iter(websocket.scope["subprotocols"]), None))
    try:
        while True:
            await websocket.send_json(
                {
                    "room": websocket.path_params["room"],
                    "token": websocket.query_params.get("token"),
                    "user": websocket.cookies.get("user"),
                    "text": await websocket.receive_text(),
                }
            )
    except WebSocketDisconnect:
        pass


async def deny(websocket: WebSocket) -> None:
    await websocket.send_denial_response(JSONResponse({"detail": "log in"}, status_code=401))


async def refuse(websocket: WebSocket) -> None:
    await websocket.close(code=4403)


async def body(request: Request) -> Response:
    return JSONResponse({"body": (await request.body()).decode(), "host": request.url.hostname})


async def events(request: Request) -> Response:
    async def stream() -> AsyncIterator[str]:
        yield "data: 1\n\n"
        await asyncio.Event().wait()

    return StreamingResponse(stream(), media_type="text/event-stream")


async def background(request: Request) -> Response:
    async def work() -> None:
        raise LookupError("in the background")

    return Response("done", background=BackgroundTask(work))


starlette_app = Starlette(
    routes=[
        WebSocketRoute("/ws/{room}", echo),
        WebSocketRoute("/deny", deny),
        WebSocketRoute("/refuse", refuse),
        Route("/body", body, methods=["POST"]),
        Route("/events", events),
        Route("/background", background),
    ]
)

fastapi_app = FastAPI()


@fastapi_app.websocket("/forgetful")
async def forgetful(websocket: WebSocket) -> None:
    """Does not catch WebSocketDisconnect."""
    await websocket.accept()
    await websocket.receive_text()


@fastapi_app.get("/items/{item}")
async def item(item: int) -> dict[str, int]:
    return {"item": item}


async def test_a_websocket_route() -> None:
    async with WebsocketCommunicator(
        starlette_app, "/ws/lobby?token=t", subprotocols=["chat"], cookies={"user": "ada"}
    ) as communicator:
        assert await communicator.connect() == (True, "chat")
        await communicator.send_to("hello")
        assert await communicator.receive_json_from() == {
            "room": "lobby",
            "token": "t",
            "user": "ada",
            "text": "hello",
        }


@pytest.mark.parametrize("path", ["/refuse", "/nowhere"])
async def test_refusals(path: str) -> None:
    async with WebsocketCommunicator(starlette_app, path) as communicator:
        assert await communicator.connect() == (False, 1006)
        response = communicator.handshake_response
        assert response is not None
        assert response["status"] == 403


@pytest.mark.skipif(
    not hasattr(WebSocket, "send_denial_response"), reason="Starlette has it since 0.37"
)
async def test_a_refusal_with_a_response() -> None:
    async with WebsocketCommunicator(starlette_app, "/deny") as communicator:
        assert await communicator.connect() == (False, 1006)
        response = communicator.handshake_response
        assert response is not None
        assert response["status"] == 401
        assert response["body"] == b'{"detail":"log in"}'
        assert (b"content-type", b"application/json") in response["headers"]


async def test_the_text_of_a_timeout_names_the_endpoint() -> None:
    async with WebsocketCommunicator(starlette_app, "/ws/lobby") as communicator:
        await communicator.connect()
        with pytest.raises(
            CommunicatorTimeout,
            match=r"application: … -> \S*test_frameworks\.py:\d+ in echo -> .*"
            r"receive\(\), waiting for the client",
        ):
            await communicator.receive_from(timeout=0.01)


async def test_an_endpoint_that_does_not_catch_the_disconnect_is_told_on() -> None:
    communicator = WebsocketCommunicator(fastapi_app, "/forgetful")
    await communicator.connect()
    with pytest.raises(WebSocketDisconnect):
        await communicator.disconnect()


async def test_an_endpoint_that_returns_closes_the_connection() -> None:
    async with WebsocketCommunicator(fastapi_app, "/forgetful") as communicator:
        await communicator.connect()
        await communicator.send_to("x")
        with pytest.raises(WebsocketClosed):
            await communicator.receive_from()


async def test_http_routes() -> None:
    communicator = HttpCommunicator(starlette_app, "POST", "/body", "é".encode())
    response = await communicator.get_response()
    assert response["status"] == 200
    assert response["body"] == '{"body":"é","host":"testserver"}'.encode()
    response = await HttpCommunicator(fastapi_app, "GET", "/items/3").get_response()
    assert response["body"] == b'{"item":3}'


async def test_a_stream_ends_when_its_client_leaves() -> None:
    communicator = HttpCommunicator(starlette_app, "GET", "/events")
    assert (await communicator.get_response_start())["status"] == 200
    assert await communicator.receive_body_chunk() == b"data: 1\n\n"
    await communicator.disconnect()


async def test_an_error_in_a_background_task_is_not_lost() -> None:
    with pytest.raises(LookupError, match="in the background"):
        await HttpCommunicator(starlette_app, "GET", "/background").get_response()
