"""Commands as the bytes that Redis reads.

redis-py's connections do this in Python, at four to six times the cost.
"""

from collections.abc import Callable
from typing import TypeAlias, cast

Argument: TypeAlias = str | bytes | int | float


def _encoded(argument: Argument) -> bytes:
    if isinstance(argument, bytes):
        return argument
    return (argument if isinstance(argument, str) else repr(argument)).encode()


def pack_in_python(command: tuple[Argument, ...]) -> bytes:
    """What is used where hiredis is not installed."""
    arguments = map(_encoded, command)
    parts = (b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in arguments)
    return b"*%d\r\n%b" % (len(command), b"".join(parts))


pack: Callable[[tuple[Argument, ...]], bytes] = pack_in_python
try:
    import hiredis
except ImportError:
    pass
else:
    pack = cast(Callable[[tuple[Argument, ...]], bytes], hiredis.pack_command)  # pyright: ignore[reportUnknownMemberType]  # its stub names no argument types
