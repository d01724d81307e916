"""How messages become the bytes that a channel layer carries.

``create_serializer("msgpack")`` is what layers use unless told otherwise. A format of your
own derives from :class:`MessageSerializer` and gets its name with :func:`register_serializer`.
"""

from ._base import MessageSerializer as MessageSerializer
from ._encrypted import EncryptedSerializer as EncryptedSerializer
from ._formats import JsonSerializer as JsonSerializer
from ._formats import MsgpackSerializer as MsgpackSerializer
from ._registry import create_serializer as create_serializer
from ._registry import register_serializer as register_serializer

__all__ = [
    "EncryptedSerializer",
    "JsonSerializer",
    "MessageSerializer",
    "MsgpackSerializer",
    "create_serializer",
    "register_serializer",
]
