"""What was dropped or refused in this process, counted by reason.

``statistics.snapshot()`` gives a dict such as ``{"send.after_close": 3}``. The reasons:

==========================  ====================================================================
``send.after_close``        something for a client whose connection had ended
``event.full``              a layer message, because the channel held its capacity already
``event.unhandled``         an event for which the consumer has no handler
``event.undecodable``       bytes from a broker that are no message, or that no key decrypts
``event.before_accept``     a frame sent to a group member that had not accepted yet
``frame.invalid``           a frame of a client that is not JSON, which ``error_policy`` ignores
``handler.error``           an exception of a handler that ``error_policy`` let pass
``outbox.full``             a frame for a client that was too slow, by the policy of its outbox
``outbox.replaced``         a frame that gave way to a later one of the same key
``outbox.closed``           a connection that was closed (1013), because its outbox was full
``outbox.unsent``           a frame that still waited when the connection ended
``client.silent``           a connection whose client did not answer the heartbeat
``channel.gone``            a message to a channel of this process that is closed
``limit.frame_bytes``       a frame of a client that was larger than its limit
``limit.json_depth``        a frame whose JSON was nested more deeply than its limit
``limit.rate``              a frame over a client's rate: refused, or held back for a while
``limit.groups``            a group that a channel did not join, because it is in its limit
``limit.connections``       a WebSocket of a client that has as many as it may
==========================  ====================================================================

Nothing here is an error of its own: each is what "at most once" costs, made visible. Every
reason is also logged, at most once a second with the number of times since: as a warning, or on a
lower level what is to be expected, such as ``outbox.replaced``.
"""

import logging
import threading
import time
from typing import Final

__all__ = ["DropCounter", "statistics"]

_logger = logging.getLogger("fast_channels")


class DropCounter:
    """Counts by reason, from any thread; logs each reason at most once a second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._logged: dict[str, tuple[float, int]] = {}

    def count(
        self, reason: str, detail: str, *, times: int = 1, level: int = logging.WARNING
    ) -> None:
        """Add ``times`` for ``reason``; ``detail`` is a sentence for the log."""
        now = time.monotonic()
        with self._lock:
            total = self._counts[reason] = self._counts.get(reason, 0) + times
            logged_at, logged_total = self._logged.get(reason, (float("-inf"), 0))
            if now - logged_at < 1:
                return
            self._logged[reason] = (now, total)
        _logger.log(
            level, "%s (%s: %d since the last such line)", detail, reason, total - logged_total
        )

    def snapshot(self) -> dict[str, int]:
        """The counts so far; a copy."""
        with self._lock:
            return dict(self._counts)


statistics: Final = DropCounter()
"""The counts of this process."""
