"""One node's connection to NATS: groups and inboxes are subjects, general channels streams."""
# nats-py declares only a part of its types.
# pyright: reportUnknownMemberType=false

import asyncio
import itertools
import logging
from functools import partial
from typing import TYPE_CHECKING

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error, SlowConsumerError

from fast_channels.exceptions import ChannelLayerRefused, ChannelLayerUnavailable, MessageTooLarge
from fast_channels.layers import BrokerConnection, Node, Waiters
from nats_layer._general import GeneralChannels

if TYPE_CHECKING:
    from nats_layer import NatsChannelLayer

logger = logging.getLogger("nats_layer")


class NatsConnection(BrokerConnection):
    away = (Error,)

    def __init__(self, node: Node, layer: "NatsChannelLayer") -> None:
        super().__init__(node)
        self._layer = layer
        self._prefix = layer.prefix
        self._client = Client()
        self._is_up = False
        self._groups: dict[str, Subscription] = {}
        self._replies = f"{layer.prefix}.reply.{node.id}"
        self._numbers = itertools.count()
        self._waiters = Waiters[str, bool]()
        self._general = GeneralChannels(node, layer)

    async def connect(self) -> None:
        self._client = client = Client()
        await client.connect(
            self._layer.servers,
            error_cb=self._failed,
            disconnected_cb=self._lost,
            reconnected_cb=self._back,
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            ping_interval=5,
        )
        await client.subscribe(f"{self._prefix}.node.{self.node.id}", cb=self._arrived)
        await client.subscribe(f"{self._replies}.*", cb=self._replied)
        await self._general.open(client)
        await self._round_trip()
        self._is_up = True

    async def close(self) -> None:
        self._is_up = False
        self._groups.clear()
        closing = self.node.loop.create_task(self._client.close())
        while not closing.done():
            await asyncio.wait([closing], timeout=1)
            closing.cancel()  # A server that stands still takes no farewell.
        if not closing.cancelled():
            closing.exception()

    async def subscribe(self, group: str) -> None:
        self._require_connection()
        if group not in self._groups:
            take = partial(self._arrived_for, group)
            self._groups[group] = await self._client.subscribe(self._subject(group), cb=take)
        await self._round_trip()

    async def unsubscribe(self, group: str) -> None:
        if (subscription := self._groups.pop(group, None)) is not None:
            await subscription.unsubscribe()

    async def publish(self, group: str, data: bytes) -> None:
        await self._send(self._subject(group), data)

    async def send_to_node(self, node_id: str, data: bytes) -> bool:
        return await self._send(f"{self._prefix}.node.{node_id}", data)

    async def push(self, channel: str, data: bytes, capacity: int, expiry: float) -> bool:
        self._require_connection(data)
        return await self._general.push(channel, data, capacity, expiry)

    async def pull(self, channel: str) -> tuple[bytes, float]:
        self._require_connection()
        return await self._general.pull(channel)

    async def flush(self) -> None:
        self._require_connection()
        await self._general.flush()

    def _subject(self, group: str) -> str:
        # "a..b" is a group, but no subject.
        return f"{self._prefix}.group.{group.replace('.', '=')}"

    def _require_connection(self, data: bytes = b"") -> None:
        if not self._client.is_connected:
            raise ConnectionError("NATS is away")
        if len(data) > self._client.max_payload:
            raise MessageTooLarge(len(data), self._client.max_payload)

    async def _send(self, subject: str, data: bytes) -> bool:
        self._require_connection(data)
        try:
            return await self._round_trip(subject, data)
        except (Error, ConnectionError) as error:
            raise ChannelLayerUnavailable(f"{error}; the message may have been sent") from error

    async def _round_trip(self, subject: str = "", data: bytes = b"") -> bool:
        """Publish, and return when the server has done this and all that was sent before.

        False if nobody had subscribed the subject: that the server replies by itself, before it
        gets to the second message, which we send to the reply's address ourselves. (A PING of
        ``Client.flush`` would overtake what waits to be written.)
        """
        reply = f"{self._replies}.{next(self._numbers)}"
        with self._waiters.wait(reply) as had_subscribers:
            if subject:
                await self._client.publish(subject, data, reply=reply)
            await self._client.publish(reply)
            return await had_subscribers

    async def _replied(self, message: Msg) -> None:
        self._waiters.give(message.subject, not message.headers)

    async def _arrived(self, message: Msg) -> None:
        self.node.deliver(message.data)

    async def _arrived_for(self, group: str, message: Msg) -> None:
        self.node.deliver_to_group(group, message.data)

    async def _lost(self) -> None:
        self._waiters.fail("the connection to NATS broke")
        self._general.lost()

    async def _back(self) -> None:
        self.node.gap()  # The client has subscribed everything anew.

    async def _failed(self, error: Exception) -> None:
        if not self._is_up:
            # Ends connect(), which would try for ever and tell nobody why.
            if "authorization" in str(error).lower():
                raise ChannelLayerRefused(f"NATS refused the connection: {error}") from error
            raise error
        logger.warning("NATS: %s", error)
        if isinstance(error, SlowConsumerError):
            self.node.gap()  # The client dropped a message, because this loop was too slow.
