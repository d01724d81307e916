"""Ours beside a bare connection that sends the same commands; ours only.

Says rates in turn, what the members in another process got, and the commands that calls made.
"""

import argparse
import asyncio
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import uvloop
from redis.asyncio import Connection

from benchmarks.workers._process import say
from benchmarks.workers._redis import GROUP, MESSAGE, Members, make_layer, parser
from fast_channels.layers.base import BaseChannelLayer

_AT_ONCE = 64
_MARKER = "the benchmark has seen enough"
_ARGUMENT = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_REPEATED = 100

Command: TypeAlias = list[bytes]


class Monitor:
    """Every command that the server carries out, as it reports them."""

    def __init__(self, monitor: Connection, marker: Connection) -> None:
        self._monitor = monitor
        self._marker = marker

    async def commands(self, action: Awaitable[object]) -> list[Command]:
        """What clients asked of the server meanwhile, without what its scripts did."""
        await action
        await self._marker.send_command("ECHO", _MARKER)
        await self._marker.read_response()
        found: list[Command] = []
        while True:
            line = bytes(await self._monitor.read_response())
            arguments = [_unescaped(each) for each in _ARGUMENT.findall(line)]
            if arguments == [b"ECHO", _MARKER.encode()]:
                return found
            if b" lua] " not in line:
                found.append(arguments)


def _unescaped(argument: bytes) -> bytes:
    return argument.decode("unicode_escape").encode("latin-1")


@asynccontextmanager
async def _connection(url: str) -> AsyncGenerator[Connection]:
    port = int(url.rpartition(":")[2])
    connection = Connection(port=port)
    await connection.connect()
    try:
        yield connection
    finally:
        await connection.disconnect()


@asynccontextmanager
async def _monitor(url: str) -> AsyncGenerator[Monitor]:
    async with _connection(url) as monitor, _connection(url) as marker:
        await monitor.send_command("MONITOR")
        await monitor.read_response()
        yield Monitor(monitor, marker)


class Publishing:
    """The same number of messages by the layer and by a bare connection."""

    def __init__(
        self, layer: BaseChannelLayer, connection: Connection, commands: list[Command]
    ) -> None:
        self._layer = layer
        self._connection = connection
        self._commands = commands
        self._rounds = len(commands) // _AT_ONCE

    async def layer(self) -> float:
        """Messages a second of callers that each wait for their own calls."""

        async def call() -> None:
            for _ in range(self._rounds):
                await self._layer.group_send(GROUP, {**MESSAGE, "number": 0})

        started = time.monotonic()
        await asyncio.gather(*(call() for _ in range(_AT_ONCE)))
        return self._rounds * _AT_ONCE / (time.monotonic() - started)

    async def bare(self) -> float:
        """Messages a second as full pipelines, one after another."""
        connection = self._connection
        started = time.monotonic()
        for begin in range(0, self._rounds * _AT_ONCE, _AT_ONCE):
            packed = connection.pack_commands(self._commands[begin : begin + _AT_ONCE])
            await connection.send_packed_command(packed)
            for _ in range(_AT_ONCE):
                await connection.read_response(disable_decoding=True)
        return self._rounds * _AT_ONCE / (time.monotonic() - started)


async def _counts(layer: BaseChannelLayer, url: str) -> dict[str, float]:
    """Commands that a call of each kind takes."""
    await layer.group_add("visited", await layer.new_channel())
    await layer.group_send(GROUP, MESSAGE)
    names = [await layer.new_channel() for _ in range(_REPEATED)]

    async def open_another(number: int) -> None:
        await layer.new_channel()

    async def join(number: int) -> None:
        await layer.group_add("visited", names[number])

    async def send(number: int) -> None:
        await layer.group_send(GROUP, MESSAGE)

    async def repeated(call: Callable[[int], Awaitable[object]]) -> None:
        for number in range(_REPEATED):
            await call(number)

    async with _monitor(url) as monitor:
        calls = {"open": open_another, "join": join, "group_send": send}
        found = {name: await monitor.commands(repeated(call)) for name, call in calls.items()}
    return {name: len(commands) / _REPEATED for name, commands in found.items()}


async def _sending(layer: BaseChannelLayer, url: str, messages: int) -> list[Command]:
    """The commands that send so many messages to the group, one for each.

    They differ: what comes twice within a short time, the queue layer's receivers drop.
    """

    async def send() -> None:
        # One after another: what callers send at once goes out in fewer commands.
        for _ in range(messages):
            await layer.group_send(GROUP, {**MESSAGE, "number": 0})

    async with _monitor(url) as monitor:
        found = await monitor.commands(send())
    text = MESSAGE["text"].encode()
    return [command for command in found if any(text in part for part in command)]


async def _measure(options: argparse.Namespace) -> None:
    layer = make_layer(options.layer, options.url)
    counts = await _counts(layer, options.url)
    messages: int = options.rounds * _AT_ONCE
    commands = await _sending(layer, options.url, messages)
    ways: list[str] = options.ways.split(",")
    members = None
    if options.members:
        members = await asyncio.to_thread(
            Members,
            layer=options.layer,
            url=options.members_url or options.url,
            members=options.members,
            messages=options.turns * messages * len(ways),
        )
    rates: dict[str, list[float]] = {way: [] for way in ways}
    async with _connection(options.url) as connection:
        publishing = Publishing(layer, connection, commands)
        for _ in range(options.turns):
            for way in ways:
                rates[way].append(await getattr(publishing, way)())
    received = await asyncio.to_thread(members.found) if members else None
    say(rates=rates, commands=counts, received=received)


def main() -> None:
    arguments = parser()
    arguments.add_argument("--ways", default="layer,bare", help="what publishes, in turn")
    arguments.add_argument("--turns", type=int, required=True)
    arguments.add_argument("--rounds", type=int, required=True)
    arguments.add_argument("--members", type=int, default=0)
    arguments.add_argument("--members-url", help="where the members find the server")
    uvloop.run(_measure(arguments.parse_args()))


if __name__ == "__main__":
    main()
