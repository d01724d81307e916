"""A channel layer in a process of its own, which the conformance suite drives through two pipes.

Not a part of ``layers``: importing that takes longer than whatever a process does here.
"""

import asyncio
import gc
import os
import pickle
import socket
import stat
import sys
import threading
import traceback
import warnings
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, BinaryIO, Final

from fast_channels.layers import BaseChannelLayer

Request = tuple[int, str, tuple[Any, ...]]
"""The number of a call, the method, and its arguments; or the number, ``CANCEL`` and nothing."""

Answer = tuple[int, bool, bytes]
"""The number of a call, whether it returned, and the pickled result or exception."""

CANCEL: Final = "!cancel"


def main() -> None:
    # Whatever the application prints must not get among the answers.
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    asyncio.run(_Remote(requests, answers).serve())


class _Remote:
    def __init__(self, requests: BinaryIO, answers: BinaryIO) -> None:
        self._requests = requests
        self._answers = answers
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._ended = asyncio.Event()

    async def serve(self) -> None:
        """Make the layer, carry out what is asked for until the pipe ends, and close it."""
        try:
            layer = _make(*pickle.load(self._requests))  # noqa: S301  # our parent wrote it
        except Exception as error:
            self._answer(0, False, error)
            return
        self._answer(0, True, None)
        threading.Thread(
            target=self._read, args=(layer, asyncio.get_running_loop()), daemon=True
        ).start()
        await self._ended.wait()
        for call in self._calls.values():
            call.cancel()
        await asyncio.gather(*self._calls.values(), return_exceptions=True)
        await layer.close()

    def _read(self, layer: BaseChannelLayer, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            try:
                request: Request = pickle.load(self._requests)  # noqa: S301  # as above
            except (EOFError, OSError, pickle.UnpicklingError):
                loop.call_soon_threadsafe(self._ended.set)
                return
            loop.call_soon_threadsafe(self._begin, layer, request)

    def _begin(self, layer: BaseChannelLayer, request: Request) -> None:
        number, name, arguments = request
        if name == CANCEL:
            if number in self._calls:
                self._calls[number].cancel()
            return
        method = partial(_OWN[name], layer) if name in _OWN else getattr(layer, name)
        task = self._calls[number] = asyncio.create_task(self._run(number, method, arguments))
        task.add_done_callback(lambda _: self._calls.pop(number))

    async def _run(
        self, number: int, method: Callable[..., Awaitable[object]], arguments: tuple[Any, ...]
    ) -> None:
        try:
            self._answer(number, True, await method(*arguments))
        except Exception as error:
            self._answer(number, False, error)

    def _answer(self, number: int, returned: bool, value: object) -> None:
        try:
            data = pickle.dumps(value)
            pickle.loads(data)  # noqa: S301  # what was pickled one line above
        except Exception:
            # Not every exception can be made again from its arguments.
            returned, data = False, pickle.dumps(RuntimeError(repr(value)))
        self._answers.write(pickle.dumps((number, returned, data)))
        self._answers.flush()


def _make(factory: bytes, options: dict[str, Any]) -> BaseChannelLayer:
    try:
        make_layer = pickle.loads(factory)  # noqa: S301  # our parent wrote it
    except Exception as error:
        error.add_note(
            "make_layer could not be unpickled in another process: it has to be made of classes "
            "and functions of modules that can be imported there"
        )
        raise
    layer: BaseChannelLayer = make_layer(**options)
    return layer


async def _fork(layer: BaseChannelLayer, group: str, channel: str) -> None:
    """Let a fork of this process join a group, hear itself there, and tell a channel of it."""
    with warnings.catch_warnings():
        # That threads are not forked with the process: the one here is not needed there.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        status = 1
        try:
            asyncio.run(_visit(layer, group, channel))
            gc.collect()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = await asyncio.to_thread(os.waitpid, pid, 0)
    if status:
        raise RuntimeError(f"the forked process ended with {os.waitstatus_to_exitcode(status)}")


async def _visit(layer: BaseChannelLayer, group: str, channel: str) -> None:
    async with asyncio.timeout(20):
        own = await layer.new_channel()
        await layer.group_add(group, own)
        await layer.group_send(group, {"type": "from.fork"})
        await layer.send(channel, {"type": "heard.in.fork", "message": await layer.receive(own)})
        await layer.close()


async def _count_sockets(_layer: BaseChannelLayer) -> int:
    return _open_sockets()


def _open_sockets() -> int:
    for folder in ("/proc/self/fd", "/dev/fd"):
        if os.path.isdir(folder):
            return sum(map(_is_socket, os.listdir(folder)))
    return sum(
        issubclass(type(each), socket.socket) and each.fileno() >= 0 for each in gc.get_objects()
    )


def _is_socket(descriptor: str) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(int(descriptor)).st_mode)
    except OSError:
        return False  # It was that of listdir().


_OWN: Final[dict[str, Callable[..., Awaitable[object]]]] = {
    "fork": _fork,
    "count_sockets": _count_sockets,
}

if __name__ == "__main__":
    main()
    sys.exit()
