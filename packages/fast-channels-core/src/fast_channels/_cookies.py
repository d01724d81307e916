"""Cookies of a request, read as browsers mean them."""

import re

from fast_channels.types import Headers

__all__ = ["parse_cookies"]

_ESCAPE = re.compile(r"\\(?:([0-3][0-7]{2})|(.))", re.DOTALL)


def parse_cookies(headers: Headers) -> dict[str, str]:
    """The cookies in ``scope["headers"]``, by name; never raises, whatever the client sent.

    Browsers do not keep to the grammar of RFC 6265, so this does not ask for it: whatever lies
    between semicolons is a cookie, and its name ends at the first ``=``. Text without ``=`` is
    the value of the cookie named ``""``. Bytes are read as Latin-1. A value in double quotes
    loses them and its backslash escapes. The last cookie of a name wins.
    """
    cookies: dict[str, str] = {}
    for name, line in headers:
        if name.lower() != b"cookie":
            continue
        for chunk in line.decode("latin-1").split(";"):
            key, separator, value = chunk.partition("=")
            if not separator:
                key, value = "", chunk
            # Not strip(): the last byte of a UTF-8 character may be a Latin-1 space.
            key, value = key.strip(" \t"), value.strip(" \t")
            if key or value:
                cookies[key] = _unquoted(value)
    return cookies


def _unquoted(value: str) -> str:
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    return _ESCAPE.sub(_unescaped, value[1:-1])


def _unescaped(escape: re.Match[str]) -> str:
    octal = escape[1]
    return chr(int(octal, 8)) if octal else escape[2]
