"""General channels: a JetStream work queue each, with the channel's capacity and age."""
# nats-py declares only a part of its types.
# pyright: reportUnknownMemberType=false

import asyncio
import json
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, DiscardPolicy, RetentionPolicy, StreamConfig
from nats.js.errors import APIError, NoStreamResponseError

from fast_channels.exceptions import ChannelLayerUnavailable
from fast_channels.layers import Node, Waiters

if TYPE_CHECKING:
    from nats_layer import NatsChannelLayer

_CONSUMER: Final = "receivers"
_FULL: Final = 10077
_OTHER_OPTIONS: Final = 10058
"""Codes of JetStream's errors; the second: the stream exists, with other options."""
_SHORTEST_AGE: Final = 0.1
"""Seconds; JetStream refuses less. The layer itself drops what is older than its expiry."""
_WISH: Final = json.dumps({"batch": 1, "expires": 5_000_000_000}).encode()
"""Asks for one message, which may come within 5 seconds."""


class GeneralChannels:
    """What one node pushes to general channels, and pulls from them.

    A channel has one message on its way to a receiver at a time (``max_ack_pending``), so what
    comes back is again the first to be delivered.
    """

    def __init__(self, node: Node, layer: "NatsChannelLayer") -> None:
        self._node = node
        self._layer = layer
        self._inbox = f"{layer.prefix}.pull.{node.id}"
        self._waiters = Waiters[str, Msg]()
        self._wishes = Counter[str]()
        self._newest = defaultdict[str, float](float)
        """When the newest message was sent that was handed out: all older ones were, too."""
        self._made = set[str]()
        self._acks: dict[str, asyncio.Future[None]] = {}
        """Done when JetStream has forgotten what it delivered."""

    async def open(self, client: Client) -> None:
        self._client = client
        self._streams = JetStreamContext(client, timeout=2)
        await client.subscribe(f"{self._inbox}.*", cb=self._arrived)

    def lost(self) -> None:
        """The connection broke: the server forgets what was wished for."""
        self._made.clear()
        self._wishes.clear()
        self._waiters.fail("the connection to NATS broke")
        for stream in list(self._acks):
            self._acks.pop(stream).set_result(None)

    async def push(self, channel: str, data: bytes, capacity: int, expiry: float) -> bool:
        stream = self._stream(channel)
        await self._require(stream, capacity, expiry)
        if (ack := self._acks.get(stream)) is not None:
            await asyncio.wait([ack])  # What was received leaves its room to what is sent.
        try:
            await self._streams.publish(self._subject(stream), data)
        except NoStreamResponseError:
            self._made.discard(stream)  # Somebody has removed it; the next attempt makes it.
            raise
        except NatsTimeoutError as error:
            raise ChannelLayerUnavailable(f"{error}; the message may have been sent") from error
        except APIError as error:
            if error.err_code != _FULL:
                raise
            return False
        return True

    async def pull(self, channel: str) -> tuple[bytes, float]:
        stream = self._stream(channel)
        while True:
            with self._waiters.wait(stream, self._give_back) as waiter:
                await self._require(stream, self._layer.get_capacity(channel), self._layer.expiry)
                if self._wishes[stream] < self._waiters.count(stream):
                    self._wishes[stream] += 1
                    wishes = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{_CONSUMER}"
                    await self._client.publish(wishes, _WISH, reply=f"{self._inbox}.{stream}")
                message = await waiter
            if message.reply:
                await self._acknowledge(stream, message)
                sent_at = message.metadata.timestamp.timestamp()
                # A server that crashes may forget the last acknowledgements.
                if sent_at > self._newest[stream]:
                    self._newest[stream] = sent_at
                    return message.data, max(time.time() - sent_at, 0)
                continue
            status = (message.headers or {}).get("Status")
            if status != "408":  # which says that the wish has expired
                self._made.discard(stream)
                raise ConnectionError(f"JetStream answered {status} for {channel!r}")

    async def flush(self) -> None:
        seen = 0
        while streams := await self._streams.streams_info(seen):
            seen += len(streams)
            for name in (stream.config.name or "" for stream in streams):
                if name.startswith(f"{self._layer.prefix}="):
                    await self._streams.purge_stream(name)

    def _subject(self, stream: str) -> str:
        return f"{self._layer.prefix}.general.{stream}"

    def _stream(self, channel: str) -> str:
        return f"{self._layer.prefix}={channel.replace('.', '=')}"

    async def _require(self, stream: str, capacity: int, expiry: float) -> None:
        if stream not in self._made:
            # In a task of its own, because nats-py can make a cancellation vanish.
            making = self._node.share(self._make(stream, capacity, expiry))
            await self._node.outcome(making)

    async def _make(self, stream: str, capacity: int, expiry: float) -> None:
        config = StreamConfig(
            name=stream,
            subjects=[self._subject(stream)],
            retention=RetentionPolicy.WORK_QUEUE,
            discard=DiscardPolicy.NEW,
            max_msgs=capacity,
            max_age=max(expiry, _SHORTEST_AGE),
        )
        try:
            await self._streams.add_stream(config)
        except APIError as error:
            if error.err_code != _OTHER_OPTIONS:
                raise
            await self._streams.update_stream(config)
        await self._streams.add_consumer(
            stream,
            durable_name=_CONSUMER,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self._layer.claim_timeout,
            max_ack_pending=1,
        )
        self._made.add(stream)

    async def _acknowledge(self, stream: str, message: Msg) -> None:
        self._acks.setdefault(stream, self._node.loop.create_future())
        await self._client.publish(message.reply, Msg.Ack.Ack, reply=f"{self._inbox}.{stream}")

    async def _arrived(self, message: Msg) -> None:
        """A message (its subject ends with the stream), or why there is none (a header), or that
        an acknowledgement has arrived."""
        stream = message.subject.rpartition(".")[2]
        if not message.reply and not message.headers:
            if (ack := self._acks.pop(stream, None)) is not None:
                ack.set_result(None)
            return
        self._wishes[stream] = max(0, self._wishes[stream] - 1)
        if not self._waiters.give(stream, message):
            self._give_back(message)

    def _give_back(self, message: Msg) -> None:
        if message.reply:
            self._node.run(message.nak())
