"""The same chat with ``broadcast``, which encodes once and wakes no handler."""

from typing import Any

from benchmarks.workers.handler import Chat


class BroadcastChat(Chat):
    async def receive_json(self, content: Any, /) -> None:
        await self.broadcast("room", json=content)


application = BroadcastChat.as_asgi()
