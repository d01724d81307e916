"""The event loop that runs in this thread."""

import asyncio


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop, or None where no loop runs."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
