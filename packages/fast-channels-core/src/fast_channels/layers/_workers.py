"""Notices that this process is one of several workers of a server."""

import logging
import multiprocessing
import os
import tempfile
from typing import Final

try:
    import fcntl
except ImportError:  # Windows has no such locks; there the warning is never given.
    fcntl = None  # type: ignore[assignment, unused-ignore]  # stands for the missing module

_logger = logging.getLogger("fast_channels.layers")
_WARNING: Final = (
    "the in-memory channel layer serves one process, but this is one of several worker processes: "
    "their clients will not see each other's messages. Run one worker, or register a layer with "
    "a broker, such as RedisPubSubChannelLayer (pip install 'fast-channels[redis]')."
)
# Of the process that looked; a forked child looks again.
_looked_in: int | None = None


def warn_if_one_of_several_workers() -> None:
    """Log one warning if a sibling worker process uses an in-memory layer, too; looks once."""
    global _looked_in
    if _looked_in == os.getpid():
        return
    _looked_in = os.getpid()
    supervisor = _supervisor_pid()
    if supervisor is not None and not _is_only_worker_of(supervisor):
        _logger.warning(_WARNING)


def _supervisor_pid() -> int | None:
    """The process that started this one as a worker; None if it was not started as one.

    uvicorn, hypercorn and granian start workers through multiprocessing, gunicorn forks them.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        return parent.pid
    if os.environ.get("SERVER_SOFTWARE", "").startswith("gunicorn"):
        return os.getppid()
    return None


def _is_only_worker_of(supervisor: int) -> bool:
    """Whether no sibling holds the lock that the workers of this supervisor ask for.

    The lock is held until the process ends, however it ends, so a worker that a reload has
    replaced is not mistaken for a sibling.
    """
    if fcntl is None:
        return True
    name = f"fast-channels-{os.getuid()}-{supervisor}.lock"
    try:
        lock = os.open(os.path.join(tempfile.gettempdir(), name), os.O_CREAT | os.O_RDWR, 0o600)
    except OSError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return False
    return True
