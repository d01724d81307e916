"""The chat whose clients have to give a sign of life."""

from benchmarks.workers.handler import Chat


class WatchedChat(Chat):
    heartbeat_interval = 30
    heartbeat_timeout = 10


application = WatchedChat.as_asgi()
