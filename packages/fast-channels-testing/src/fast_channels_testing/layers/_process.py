"""A layer in a real process, and how a test speaks to it."""

import asyncio
import itertools
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import IO, Any

from fast_channels.layers import BaseChannelLayer
from fast_channels.types import Message
from fast_channels_testing._remote_layer import CANCEL, Answer


class LayerProcessEnded(Exception):
    """The process of a layer has ended: it was killed, or failed. The text has its stderr."""


class LayerProcess(BaseChannelLayer):
    """A layer in another process. Its methods are those of that layer, its exceptions, too.

    Cancelling a call cancels it there, but does not wait for that: what a cancelled
    :meth:`receive` may have taken is lost.
    """

    def __init__(self, factory: bytes, options: Mapping[str, Any], errors: IO[bytes]) -> None:
        super().__init__()
        self._errors = errors
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count()
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._has_ended = False
        self._was_killed = False
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "fast_channels_testing._remote_layer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
        )
        assert self._process.stdin
        assert self._process.stdout
        self._requests, self._replies = self._process.stdin, self._process.stdout
        self._ready = self._expect(next(self._numbers))
        self._reading = threading.Thread(target=self._read)
        self._reading.start()
        self._request(factory, options)

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    async def ready(self) -> None:
        """Return when the layer is made there; raise what making it raised."""
        await self._ready

    async def kill(self) -> None:
        """End the process at once, as a crash does (SIGKILL); returns when it is gone."""
        self._was_killed = True
        self._process.kill()
        await asyncio.to_thread(self._process.wait)

    async def fork(self, group: str, channel: str) -> None:
        """Fork the process, and return when the fork has ended.

        It joins the group, sends ``{"type": "from.fork"}`` to it, and, when it has heard that,
        ``{"type": "heard.in.fork", "message": ...}`` to the channel.
        """
        await self._call("fork", group, channel)

    async def count_sockets(self) -> int:
        """How many sockets are open in the process; its event loop may have some, too."""
        count: int = await self._call("count_sockets")
        return count

    async def send(self, channel: str, message: Mapping[str, Any]) -> None:
        await self._call("send", channel, message)

    async def receive(self, channel: str) -> Message:
        message: Message = await self._call("receive", channel)
        return message

    async def new_channel(self, prefix: str = "specific") -> str:
        channel: str = await self._call("new_channel", prefix)
        return channel

    async def close_channel(self, channel: str) -> None:
        await self._call("close_channel", channel)

    async def group_add(self, group: str, channel: str) -> None:
        await self._call("group_add", group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        await self._call("group_discard", group, channel)

    async def group_send(self, group: str, message: Mapping[str, Any]) -> None:
        await self._call("group_send", group, message)

    async def flush(self) -> None:
        await self._call("flush")

    async def close(self) -> None:
        """Close the layer there; the process goes on."""
        await self._call("close")

    async def end(self, deadline: float) -> None:
        """Let the process close its layer and end; kill it if that takes too long."""
        try:
            self._requests.close()
        except OSError:
            pass  # It has ended already, and not read everything.
        try:
            await asyncio.to_thread(self._process.wait, deadline)
        except subprocess.TimeoutExpired:
            raise self._ended(f"has not closed its layer within {deadline:g} s") from None
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            self._reading.join()
            self._replies.close()
        if self._process.returncode and not self._was_killed:
            raise self._ended(f"ended with {self._process.returncode}")

    def wrote(self) -> str:
        """What the process wrote to stderr, and with ``print``."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    def _ended(self, how: str) -> LayerProcessEnded:
        return LayerProcessEnded(f"the process of a layer {how}; it wrote:\n{self.wrote()}")

    async def _call(self, method: str, *arguments: object) -> Any:
        if self._has_ended:
            raise self._ended("has ended")
        number = next(self._numbers)
        answer = self._expect(number)
        try:
            self._request(number, method, arguments)
            return await answer
        except asyncio.CancelledError:
            self._request(number, CANCEL, ())
            raise

    def _expect(self, number: int) -> asyncio.Future[Any]:
        answer = self._answers[number] = self._loop.create_future()
        answer.add_done_callback(lambda _: self._answers.pop(number))
        return answer

    def _request(self, *request: object) -> None:
        data = pickle.dumps(request)
        try:
            self._requests.write(data)
            self._requests.flush()
        except (OSError, ValueError):
            pass  # The process ends, or has ended: that is the answer to all calls.

    def _read(self) -> None:
        while True:
            try:
                answer: Answer = pickle.load(self._replies)  # noqa: S301  # of our own process
            except (EOFError, OSError, pickle.UnpicklingError):
                self._loop.call_soon_threadsafe(self._end_all)
                return
            self._loop.call_soon_threadsafe(self._take, *answer)

    def _take(self, number: int, returned: bool, data: bytes) -> None:
        answer = self._answers.get(number)
        if answer is None or answer.done():
            return
        value = pickle.loads(data)  # noqa: S301  # of our own process
        if returned:
            answer.set_result(value)
        else:
            answer.set_exception(value)

    def _end_all(self) -> None:
        self._has_ended = True
        for answer in tuple(self._answers.values()):
            if not answer.done():
                answer.set_exception(self._ended("has ended"))


@asynccontextmanager
async def run_process(
    make_layer: Callable[..., BaseChannelLayer], options: Mapping[str, Any], deadline: float
) -> AsyncGenerator[LayerProcess]:
    """A process with a layer, which has ended when the block has."""
    try:
        factory = pickle.dumps(make_layer)
    except Exception as error:
        raise TypeError(
            f"the fixture make_layer returned {make_layer!r}, which cannot be pickled ({error}), "
            "so no other process can make a layer with it; return functools.partial(MyLayer, url), "
            "or declare processes=NotSupported(reason)"
        ) from error
    # To append, because the process writes where its parent has read up to.
    with tempfile.TemporaryFile("a+b") as errors:
        process = LayerProcess(factory, options, errors)
        try:
            async with asyncio.timeout(deadline):
                await process.ready()
            yield process
        except BaseException as error:
            try:
                await process.end(deadline)
            except LayerProcessEnded:
                pass  # What went wrong first is what the test is about.
            if wrote := process.wrote():
                error.add_note(f"the layer's process wrote:\n{wrote}")
            raise
        await process.end(deadline)
