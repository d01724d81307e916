"""Signals that end the process, held back from the server for a while."""

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, Final

_ENDING: Final = (signal.SIGINT, signal.SIGTERM)


class HeldSignals:
    """Stands in front of the handlers that a server has installed.

    The first signal calls ``begin`` in the loop; the server gets it with :meth:`pass_on`. A second
    SIGINT, from somebody who does not want to wait, goes to the server at once. A second SIGTERM
    means no hurry: a supervisor sends one to all processes of a service, and the server's main
    process sends another to its workers.

    A server has its handler either from ``signal.signal()`` or from ``loop.add_signal_handler()``.
    The latter is called when the loop reads the signal's number from the file descriptor of
    ``signal.set_wakeup_fd()``, so there has to be another one in front.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, begin: Callable[[], None]) -> None:
        self._loop = loop
        self._begin = begin
        self._held: dict[int, Any] = {}
        self._first: int | None = None
        self._relay: tuple[socket.socket, socket.socket] | None = None
        self._loop_fd = -1

    def hold(self) -> None:
        """Begin, unless signals are none of this thread's business, or the server's."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _ENDING:
            # Not callable: the process ignores the signal or dies of it. A worker does whose
            # main process tells it by other means.
            if callable(handler := signal.getsignal(number)):
                self._held[number] = handler
                signal.signal(number, self._handle)
        if self._held and sys.platform != "win32":  # where loops have no handlers of signals
            reader, writer = self._relay = socket.socketpair()
            reader.setblocking(False)
            writer.setblocking(False)
            self._loop.add_reader(reader, self._read, reader)
            self.stay_in_front()

    def stay_in_front(self) -> None:
        """uvloop reads signals by a new file descriptor each time that it is run.

        granian runs its loop once for the start of the application and then once more.
        """
        if self._relay is not None:
            writer = self._relay[1].fileno()
            before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
            if before != writer:
                self._loop_fd = before

    def pass_on(self) -> None:
        """Give the signal that came to the server. Does nothing if none is held."""
        number = self._first
        if not self._held or number is None:
            return
        # After its shutdown uvicorn raises what it got again: of SIGTERM the process would die,
        # while Ctrl+C ends in a KeyboardInterrupt, which uvicorn takes for a good end.
        if (getattr(self._held.get(number), "__module__", "") or "").startswith("uvicorn."):
            number = signal.SIGINT
        self.release()
        signal.raise_signal(number)

    def release(self) -> None:
        """Put everything back as it was, as far as nobody else has changed it."""
        for number, handler in self._held.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, handler)
        self._held.clear()
        if self._relay is not None:
            reader, writer = self._relay
            self._relay = None
            now = signal.set_wakeup_fd(self._loop_fd)
            if now != writer.fileno():
                signal.set_wakeup_fd(now)
            self._loop.remove_reader(reader)
            reader.close()
            writer.close()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._first is None:
            self._first = number
            self._loop.call_soon_threadsafe(self._begin)
        elif number == signal.SIGINT:
            self._first = number
            self._loop.call_soon_threadsafe(self.pass_on)

    def _read(self, reader: socket.socket) -> None:
        """Let the loop have the signals that are not held."""
        with suppress(BlockingIOError):  # Full, so the loop will wake; or empty after all.
            others = bytes(number for number in reader.recv(4096) if number not in self._held)
            if others and self._loop_fd != -1:
                os.write(self._loop_fd, others)
