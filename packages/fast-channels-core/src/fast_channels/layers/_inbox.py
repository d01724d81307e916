"""What nodes send to each other's inbox, as bytes.

Messages for single channels travel this way, and requests about channels that another node owns.
"""

import msgspec

from fast_channels.exceptions import MessageDecodeError


class Deliver(msgspec.Struct, array_like=True, tag="d", frozen=True):
    """A message for a channel of this node, as the layer's serializer encoded it."""

    channel: str
    data: bytes


class Join(msgspec.Struct, array_like=True, tag="j", frozen=True):
    """Add a channel of this node to a group, then tell the asking node with :class:`Done`."""

    group: str
    channel: str
    asked_by: str
    request: int


class Leave(msgspec.Struct, array_like=True, tag="l", frozen=True):
    """Remove a channel of this node from a group; nobody waits for it."""

    group: str
    channel: str


class Done(msgspec.Struct, array_like=True, tag="k", frozen=True):
    """A request of this node was carried out."""

    request: int


Parcel = Deliver | Join | Leave | Done

_decoder: msgspec.msgpack.Decoder[Parcel] = msgspec.msgpack.Decoder(Parcel)
pack = msgspec.msgpack.Encoder().encode


def unpack(data: bytes) -> Parcel:
    """Raises :class:`MessageDecodeError` for anything that :func:`pack` did not make."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, ValueError) as error:
        raise MessageDecodeError(f"not a parcel for a node's inbox: {error}") from error
