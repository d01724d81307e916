"""uvicorn with a consumer and a layer, drained when the process is told to stop.

Says its port; in the end, what the drain has to report and how often ``disconnect`` ran.
"""

import argparse
import socket
from dataclasses import asdict

import uvicorn

from benchmarks.workers._process import pin, say
from fast_channels.consumer import AsyncJsonWebsocketConsumer
from fast_channels.draining import drain, draining
from fast_channels.layers import InMemoryChannelLayer, register_channel_layer
from fast_channels.types import ASGIApp, Receive, Scope, Send

register_channel_layer("default", InMemoryChannelLayer())


class Idle(AsyncJsonWebsocketConsumer):
    channel_layer_alias = "default"
    groups = ["everybody"]
    disconnects = 0

    async def on_drain(self, retry_after: float, /) -> None:
        await self.send_json({"retry_after": retry_after})

    async def disconnect(self, code: int, /) -> None:
        Idle.disconnects += 1


consumer = Idle.as_asgi()


def application(timeout: float, jitter: float, batch: int) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await consumer(scope, receive, send)
            return
        await receive()
        async with draining(timeout=timeout, jitter=jitter, batch=batch):
            await send({"type": "lifespan.startup.complete"})
            await receive()
        say(**asdict(await drain()), disconnects=Idle.disconnects)
        await send({"type": "lifespan.shutdown.complete"})

    return app


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--timeout", type=float, required=True)
    parser.add_argument("--jitter", type=float, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--core", type=int, required=True)
    options = parser.parse_args()
    pin(options.core)
    listener = socket.create_server(("127.0.0.1", 0), backlog=8192)
    say(port=listener.getsockname()[1])
    config = uvicorn.Config(
        application(options.timeout, options.jitter, options.batch),
        ws="websockets-sansio",
        ws_ping_interval=None,
        backlog=8192,
        log_level="warning",
    )
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        pass  # as uvicorn.run() does


if __name__ == "__main__":
    main()
