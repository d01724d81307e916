"""System messages: an echo, to see that the connection works in both directions."""

from typing import Any

from analytics import record
from page import PageConsumer, now


class System(PageConsumer):
    """``/ws/system``"""

    async def receive_json(self, content: Any, /) -> None:
        match content:
            case {"type": "echo", "text": str(text)} if len(text) <= 200:
                await self.send_json({"type": "echo", "text": text, "at": now()})
                await record("echoes")
            case _:
                await self.complain("Expected an echo with a text of at most 200 characters.")
