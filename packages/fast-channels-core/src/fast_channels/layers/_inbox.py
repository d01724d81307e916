"""What nodes send to each other's inbox, as bytes.

Messages for single channels travel this way, and requests about channels that another node owns.
"""

from typing import Annotated, TypeAlias

import msgspec

from fast_channels.exceptions import MessageDecodeError
from fast_channels.layers._names import MAX_NAME_LENGTH, OwnedName

# Backends put groups and node ids into commands, so they must be what this module was given.
_Group: TypeAlias = Annotated[
    str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_.\-]+\Z", max_length=MAX_NAME_LENGTH)
]
_Node: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{16}\Z")]
# A channel is only looked up here.
_Channel: TypeAlias = Annotated[str, msgspec.Meta(max_length=MAX_NAME_LENGTH)]


class Deliver(msgspec.Struct, array_like=True, tag="d", frozen=True):
    """A message for a channel of this node, as the layer's serializer encoded it."""

    channel: _Channel
    data: bytes


class Join(msgspec.Struct, array_like=True, tag="j", frozen=True):
    """Add a channel of this node to a group, then tell the asking node with :class:`Done`."""

    group: _Group
    channel: _Channel
    asked_by: _Node
    request: int


class Leave(msgspec.Struct, array_like=True, tag="l", frozen=True):
    """Remove a channel of this node from a group; nobody waits for it."""

    group: _Group
    channel: _Channel


class Done(msgspec.Struct, array_like=True, tag="k", frozen=True):
    """A request of this node was carried out, or refused."""

    request: int
    max_groups: int | None = None
    """Of a channel that joined nothing, because it is in that many groups."""


Parcel = Deliver | Join | Leave | Done

_decoder: msgspec.msgpack.Decoder[Parcel] = msgspec.msgpack.Decoder(Parcel)


def _plain(name: object) -> str:
    # msgspec encodes no subclasses of str.
    if isinstance(name, OwnedName):
        return str(name)
    raise NotImplementedError(f"a parcel with {name!r} in it")


pack = msgspec.msgpack.Encoder(enc_hook=_plain).encode


def unpack(data: bytes) -> Parcel:
    """Raises :class:`MessageDecodeError` for anything that :func:`pack` did not make."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise MessageDecodeError(f"not a parcel for a node's inbox: {error}") from error
