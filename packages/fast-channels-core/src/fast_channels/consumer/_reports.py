"""What a connection tells of itself: to the log, and to a test kit."""

import asyncio
import logging
from typing import TYPE_CHECKING, cast

from fast_channels.types import ConsumerProbe, Event

if TYPE_CHECKING:
    from fast_channels.consumer.base import AsyncConsumer

logger = logging.getLogger("fast_channels.consumer")


class Reports:
    """The part of a connection that others ask what it is, and that tells what went wrong."""

    __slots__ = ("_consumer",)

    def __init__(self, consumer: "AsyncConsumer") -> None:
        self._consumer = consumer

    def identity(self) -> str:
        """Which consumer, where, and for whom."""
        scope = self._consumer.scope
        client = scope.get("client")
        where = f"{client[0]}:{client[1]}" if client else "an unknown client"
        return f"{type(self._consumer).__qualname__} at {scope.get('path', '-')!r} for {where}"

    def probe(self) -> ConsumerProbe | None:
        extensions: Event = self._consumer.scope.get("extensions") or {}
        return cast("ConsumerProbe | None", extensions.get("fast_channels.testing"))

    def tell_probe(self, error: BaseException) -> None:
        if (probe := self.probe()) is not None:
            probe.application_error(error)

    def failure(self, error: Exception | asyncio.CancelledError) -> Exception:
        """What went wrong in the application's code; raises what really cancels the current task.

        Otherwise something that a handler awaited was cancelled: an error like any other.
        """
        if isinstance(error, Exception):
            return error
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise error
        failure = RuntimeError("something that was awaited is cancelled; the handler was not")
        failure.__cause__ = error
        return failure

    def log_failure(self, error: Exception | asyncio.CancelledError, what: str) -> None:
        failure = self.failure(error)
        self.tell_probe(failure)
        logger.error("%s: %s", self.identity(), what, exc_info=failure)
