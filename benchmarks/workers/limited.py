"""Echoes by path, ``/<what happens to frames over the rate>``."""

from fast_channels.consumer import AsyncWebsocketConsumer
from fast_channels.limits import Limits, OnExcess
from fast_channels.types import Receive, Scope, Send


class Echo(AsyncWebsocketConsumer):
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(text_data, bytes_data)


def _limited(on_excess: OnExcess) -> type[Echo]:
    limits = Limits(frames_per_second=20, burst=40, on_excess=on_excess)
    return type(f"Echo_{on_excess}", (Echo,), {"limits": limits})


_close, _delay, _report = _limited("close"), _limited("delay"), _limited("report")
_echoes = {
    "/close": _close.as_asgi(),
    "/delay": _delay.as_asgi(),
    "/report": _report.as_asgi(),
    "/none": Echo.as_asgi(),
}


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    await _echoes[scope["path"]](scope, receive, send)
