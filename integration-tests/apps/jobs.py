"""Jobs of RQ, and workers that do them: ``jobs.py CLASS HOST PORT`` until none is left."""

import sys

import redis_layer as redis_layer  # registers it
import rq
from redis import Redis

from fast_channels.layers import get_sync_channel_layer


def notify(group: str, text: str) -> None:
    get_sync_channel_layer().group_send(group, {"type": "chat.message", "text": text})


def work(worker: str, host: str, port: str) -> None:
    # What it forks later is to have no part in this connection.
    notify("nobody", "the worker's own")
    with Redis(host, int(port)) as connection:
        assert getattr(rq, worker)(["default"], connection=connection).work(
            burst=True, logging_level="WARNING"
        )


if __name__ == "__main__":
    work(*sys.argv[1:])
