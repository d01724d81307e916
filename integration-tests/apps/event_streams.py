"""Event streams, and responses that go wrong, without any framework."""

import json
from typing import Any, ClassVar

from asgi import routed
from consumers import Control, query
from reporting import report, report_log

from fast_channels.consumer import AsyncHttpConsumer, AsyncSSEConsumer
from fast_channels.draining import drain
from fast_channels.exceptions import ChannelClosed
from fast_channels.layers import InMemoryChannelLayer, register_channel_layer
from fast_channels.statistics import statistics

report_log()
layer = InMemoryChannelLayer(capacity=100)
register_channel_layer("default", layer)


class News(AsyncSSEConsumer):
    """Streams the group "news"; who comes back gets what has been published since.

    ``?connect=`` says what to do instead.
    """

    channel_layer_alias = "default"
    groups = ["news"]

    history: ClassVar[list[str]] = []
    is_over: ClassVar[bool] = False

    disconnects = 0

    async def connect(self, last_event_id: str | None) -> None:
        options = query(self.scope)
        self.id = options["id"]
        await self.channel_layer.group_add(self.id, self.channel_name)
        report("connect", id=self.id, last_event_id=last_event_id)
        if self.is_over:
            await self.reject()
            return
        match options.get("connect"):
            case "raise":
                raise LookupError("in connect")
            case "send and raise" if last_event_id is None:
                await self.send_event("begun", id=f"n\u00b0 {len(self.history)}", retry=50)
                raise LookupError("in the stream")
            case "no more":
                await self.reject()
            case "forbidden":
                await self.reject(403, b"not for you")
            case _:
                await self.send_event("hello", event="greeting", retry=50)
        if last_event_id is not None:
            for number in range(int(last_event_id.split()[-1]), len(self.history)):
                await self.send_item(number + 1)

    async def send_item(self, number: int) -> None:
        await self.send_event(self.history[number - 1], id=f"n\u00b0 {number}")

    async def news_item(self, event: dict[str, Any]) -> None:
        await self.send_item(event["number"])

    async def news_flood(self, event: dict[str, Any]) -> None:
        report("flooding", id=self.id)
        await self.send_event("x" * event["size"])
        report("flooded", id=self.id)

    async def news_fault(self, event: dict[str, Any]) -> None:
        raise LookupError("in the stream")

    async def news_close(self, event: dict[str, Any]) -> None:
        await self.close()

    async def disconnect(self) -> None:
        self.disconnects += 1
        report(
            "disconnect",
            id=self.id,
            code=1000,
            times=self.disconnects,
            channel_closed=await self._channel_is_closed(),
            in_group=await self._is_in_group(),
        )
        # The client is gone, and so nothing of this may be an error.
        await self.send_event("too late")
        await self.close()

    async def _channel_is_closed(self) -> bool:
        try:
            await self.channel_layer.receive(self.channel_name)
        except ChannelClosed:
            return True
        return False

    async def _is_in_group(self) -> bool:
        """Whether a message to the group meets this channel, which takes none any more."""
        before = statistics.snapshot().get("event.full", 0)
        await self.channel_layer.group_send(self.id, {"type": "sse.event", "data": "bye"})
        return statistics.snapshot().get("event.full", 0) != before


class Strict(News):
    """Has no patience with clients that do not read."""

    overflow = "close"


class Publish(AsyncHttpConsumer):
    """Adds an item to the history, and tells the group unless it is to be kept from it."""

    async def handle(self, body: bytes) -> None:
        order = json.loads(body)
        News.history.append(order["item"])
        if order.get("live", True):
            await layer.group_send("news", {"type": "news.item", "number": len(News.history)})
        await self.send_response(200, b"%d" % len(News.history))


class Over(AsyncHttpConsumer):
    """Ends the streams, for good."""

    async def handle(self, body: bytes) -> None:
        News.is_over = True
        await layer.group_send("news", {"type": "news.close"})
        await self.send_response(204, b"")


class Drain(AsyncHttpConsumer):
    """Takes leave of all clients."""

    async def handle(self, body: bytes) -> None:
        await drain(jitter=0.1)
        await self.send_response(204, b"")


class Page(AsyncHttpConsumer):
    """Announces ``?length=`` bytes, sends ``?parts=`` parts of 4, and ends or raises."""

    async def handle(self, body: bytes) -> None:
        options = query(self.scope)
        headers = [(b"content-length", options["length"].encode())]
        await self.send_headers(status=int(options.get("status", "200")), headers=headers)
        for _ in range(int(options["parts"])):
            await self.send_body(b"part", more_body=True)
        if options.get("end") == "raise":
            raise LookupError("after the headers")
        await self.send_body(b"")

    async def disconnect(self) -> None:
        report("http disconnect", id=query(self.scope).get("id"))


class Html(AsyncHttpConsumer):
    """A page that lists what its EventSource gets."""

    async def handle(self, body: bytes) -> None:
        headers = [(b"content-type", b"text/html; charset=utf-8")]
        await self.send_response(200, _HTML, headers=headers)


_HTML = b"""<!DOCTYPE html>
<title>News</title>
<link rel="icon" href="data:,">
<p id="state"></p>
<ol></ol>
<script>
  const source = new EventSource(`/news?id=browser&${location.search.slice(1)}`)
  const show = ({ type, data, lastEventId }) => {
    const item = document.createElement("li")
    item.textContent = `${type} ${JSON.stringify(data)} ${lastEventId}`
    document.querySelector("ol").append(item)
  }
  source.addEventListener("greeting", show)
  source.addEventListener("message", show)
  const showState = () => {
    const states = ["connecting", "open", "closed"]
    document.querySelector("#state").textContent = states[source.readyState]
  }
  source.addEventListener("open", showState)
  source.addEventListener("error", showState)
</script>
"""

application = routed(
    {
        "/": Html.as_asgi(),
        "/news": News.as_asgi(),
        "/strict": Strict.as_asgi(),
        "/publish": Publish.as_asgi(),
        "/over": Over.as_asgi(),
        "/drain": Drain.as_asgi(),
        "/page": Page.as_asgi(),
        "/control": Control.as_asgi(),
    }
)
