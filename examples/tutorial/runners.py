"""Where jobs run: in workers of RQ if REDIS_URL is set, else in a few threads of this process.

Both keep the last frame that a job has sent to the page, for those who ask later.
"""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import cache
from threading import Lock
from typing import Any, Protocol

Frame = dict[str, Any]

QUEUE = "tutorial"
MAX_WAITING = 100
KEPT = 1000
KEPT_SECONDS = 3600


class JobRefused(Exception):
    """The job cannot be taken now; the text goes to the page."""


class Runner(Protocol):
    """Its methods may block: call them in a thread."""

    def start(self, job_id: str, function: Callable[..., object], *arguments: str) -> None: ...
    def keep(self, job_id: str, frame: Frame) -> None: ...
    def last(self, job_id: str) -> Frame | None: ...
    def close(self) -> None: ...


class Threads:
    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="job")
        self._lock = Lock()
        self._unfinished = 0
        self._last: dict[str, Frame] = {}

    def start(self, job_id: str, function: Callable[..., object], *arguments: str) -> None:
        with self._lock:
            if self._unfinished >= MAX_WAITING:
                raise JobRefused("Too many jobs wait already. Try again in a moment.")
            self._unfinished += 1
        self._pool.submit(function, job_id, *arguments).add_done_callback(self._finished)

    def _finished(self, _: object) -> None:
        with self._lock:
            self._unfinished -= 1

    def keep(self, job_id: str, frame: Frame) -> None:
        with self._lock:
            self._last[job_id] = frame
            if len(self._last) > KEPT:
                del self._last[next(iter(self._last))]  # the oldest

    def last(self, job_id: str) -> Frame | None:
        with self._lock:
            return self._last.get(job_id)

    def close(self) -> None:
        """Drop the jobs that wait, and let those that run come to their end."""
        self._pool.shutdown(cancel_futures=True)


class RqWorkers:
    """``rq worker tutorial --url "$REDIS_URL"`` in this folder starts one of them."""

    def __init__(self, url: str) -> None:
        # Here, because only with Redis they have to be installed.
        import redis
        from rq import Queue

        self._redis = redis.from_url(url)
        self._queue = Queue(QUEUE, connection=self._redis)

    def start(self, job_id: str, function: Callable[..., object], *arguments: str) -> None:
        if self._queue.count >= MAX_WAITING:
            raise JobRefused("Too many jobs wait already. Try again in a moment.")
        self._queue.enqueue(  # pyright: ignore[reportUnknownMemberType]  # rq's types have bare dicts
            function, job_id, *arguments, job_id=job_id, result_ttl=0, failure_ttl=KEPT_SECONDS
        )

    def keep(self, job_id: str, frame: Frame) -> None:
        self._redis.set(f"tutorial-job:{job_id}", json.dumps(frame), ex=KEPT_SECONDS)

    def last(self, job_id: str) -> Frame | None:
        kept = self._redis.get(f"tutorial-job:{job_id}")
        return None if kept is None else json.loads(kept)

    def close(self) -> None:
        self._redis.close()


@cache
def runner() -> Runner:
    url = os.environ.get("REDIS_URL")
    return RqWorkers(url) if url else Threads()


@asynccontextmanager
async def running_jobs() -> AsyncGenerator[None]:
    """Ends what runs jobs in this process."""
    try:
        yield
    finally:
        await asyncio.to_thread(runner().close)
        runner.cache_clear()
