"""Several senders of one test, and what is heard of each."""

from fast_channels.layers import BaseChannelLayer
from fast_channels.types import Message
from fast_channels_testing.layers._layers import numbered


async def send_to_group(layer: BaseChannelLayer, group: str, sender: int, times: int) -> None:
    for n in range(times):
        await layer.group_send(group, numbered(n, sender=sender))


def senders_of(messages: list[Message]) -> list[int]:
    return sorted(message["sender"] for message in messages)


def assert_in_order(messages: list[Message], senders: int, times: int) -> None:
    """Each of the senders has sent 0, 1, 2 ..."""
    for sender in range(senders):
        heard = [message["n"] for message in messages if message["sender"] == sender]
        assert heard == list(range(times)), (
            f"of sender {sender} came {heard}, expected 0 to {times - 1} in order"
        )
