"""A consumer that notes what its channel layer tells it: gaps are told to consumers only."""

import asyncio
from collections.abc import AsyncGenerator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, Final

from fast_channels.consumer import AsyncConsumer
from fast_channels.exceptions import StopConsumer
from fast_channels.layers import (
    BaseChannelLayer,
    register_channel_layer,
    unregister_channel_layer,
)
from fast_channels.types import Event

GAP: Final = "layer.gap"


class Listener:
    """What one consumer was told, in order."""

    def __init__(self) -> None:
        self.heard: list[Event] = []
        self._news = asyncio.Event()

    def note(self, event: Event) -> None:
        self.heard.append(event)
        self._news.set()

    def count(self, event_type: str) -> int:
        return sum(event["type"] == event_type for event in self.heard)

    async def until(self, event_type: str, times: int = 1) -> None:
        """Return when as many events of this type have come, from the first one on."""
        while self.count(event_type) < times:
            self._news.clear()
            await self._news.wait()


class _Consumer(AsyncConsumer):
    def __init__(
        self, alias: str, group: str, listener: Listener, joined: asyncio.Future[None]
    ) -> None:
        self.channel_layer_alias = alias
        self._group = group
        self._listener = listener
        self._joined = joined

    async def dispatch(self, message: Event, /) -> None:
        match message["type"]:
            case "suite.start":
                await self.channel_layer.group_add(self._group, self.channel_name)
                self._joined.set_result(None)
            case "suite.stop":
                raise StopConsumer
            case _:
                self._listener.note(message)

    async def on_error(self, exc: Exception, event: Event, /) -> None:
        if not self._joined.done():
            self._joined.set_exception(exc)
        raise StopConsumer


@asynccontextmanager
async def listening(layer: BaseChannelLayer, group: str) -> AsyncGenerator[Listener]:
    """A consumer whose channel is a member of a group for as long as the block runs."""
    listener, joined = Listener(), asyncio.get_running_loop().create_future()
    from_server: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
    alias = f"conformance suite, {id(listener)}"
    application = _Consumer.as_asgi(alias=alias, group=group, listener=listener, joined=joined)
    # Only while the consumer looks for it: nobody else is to meet it.
    register_channel_layer(alias, layer)
    running = asyncio.ensure_future(application({"type": "suite"}, from_server.get, _ignore))
    try:
        from_server.put_nowait({"type": "suite.start"})
        await asyncio.wait([running, joined], return_when=asyncio.FIRST_COMPLETED)
        unregister_channel_layer(alias)
        if not joined.done():
            raise RuntimeError("a consumer ended before it had joined its group")
        joined.result()
        yield listener
    finally:
        unregister_channel_layer(alias)
        if joined.done():
            from_server.put_nowait({"type": "suite.stop"})
            await running
        else:
            running.cancel()  # It may wait for ever in the layer.
            await asyncio.wait([running])


async def _ignore(event: MutableMapping[str, Any]) -> None:
    """The client's side of a consumer that has none."""
