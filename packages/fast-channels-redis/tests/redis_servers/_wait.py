"""Waiting for what a server can only be asked about."""

import time
from collections.abc import Callable
from typing import Final

from ._client import ServerError

DEADLINE: Final = 30
"""Seconds. Only a test that fails ever waits that long."""


def wait_until(
    holds: Callable[[], object],
    what: str,
    failed: Callable[[], object] = lambda: None,
    *,
    deadline: float = DEADLINE,
) -> None:
    """Ask again and again; servers that cannot answer yet do not end the wait."""
    end = time.monotonic() + deadline
    while True:
        problem: Exception | None = None
        try:
            if holds():
                return
        except (OSError, ServerError) as error:
            problem = error
        failed()
        if time.monotonic() > end:
            raise TimeoutError(f"waited {deadline} s in vain until {what}") from problem
        time.sleep(0.01)
