"""Builds the scope that a server would make of a request."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, cast
from urllib.parse import quote, unquote, urlencode

__all__ = ["HeadersInput", "QueryInput"]

_Text: TypeAlias = str | bytes

HeadersInput: TypeAlias = (
    Mapping[str, _Text] | Mapping[bytes, _Text] | Iterable[tuple[_Text, _Text]]
)
"""Headers as a mapping or as pairs; names in any case, text is sent as Latin-1."""

QueryInput: TypeAlias = str | Mapping[str, str | int | Sequence[str | int]]
"""A query string as it is, or names and values; a name with several values comes several times."""

# Everything that may stand in a URL as it is; the rest is percent-encoded, as a client does.
_PATH_SAFE = "/%:@!$&'()*+,;=~"
_QUERY_SAFE = _PATH_SAFE + '?[]{}|\\^`"'


def connection_scope(
    kind: str,
    path: str,
    query: QueryInput | None,
    headers: HeadersInput | None,
    cookies: Mapping[str, str] | None,
    *,
    extra_headers: Iterable[tuple[bytes, bytes]] = (),
) -> dict[str, Any]:
    """Return what HTTP and WebSocket scopes have in common, bar the scheme and spec version."""
    if not path.startswith("/"):
        raise ValueError(f"the path of a request starts with '/', got {path!r}")
    target, mark, query_string = path.partition("?")
    if query is not None:
        if mark:
            raise ValueError(f"give the query either as query= or in the path, not both: {path!r}")
        query_string = query if isinstance(query, str) else urlencode(query, doseq=True)
    raw_path = quote(target, safe=_PATH_SAFE)
    return {
        "type": kind,
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "path": unquote(raw_path),
        "raw_path": raw_path.encode("ascii"),
        "query_string": quote(query_string, safe=_QUERY_SAFE).encode("ascii"),
        "root_path": "",
        "headers": _all_headers(headers, cookies, extra_headers),
        "client": ("127.0.0.1", 50000),
        "server": ("testserver", 80),
        "state": {},
        "extensions": {},
    }


def _all_headers(
    headers: HeadersInput | None,
    cookies: Mapping[str, str] | None,
    extra: Iterable[tuple[bytes, bytes]],
) -> list[tuple[bytes, bytes]]:
    given = [(_encode(name).lower(), _encode(value)) for name, value in _pairs(headers)]
    names = {name for name, _ in given}
    if cookies:
        if b"cookie" in names:
            raise ValueError("give the cookies either as cookies= or in headers=, not both ways")
        given.append((b"cookie", _cookie_header(cookies)))
    # Every real request has a Host; what a test gives itself is left alone.
    defaults = [(b"host", b"testserver"), *extra]
    return [header for header in defaults if header[0] not in names] + given


def _pairs(headers: HeadersInput | None) -> Iterable[tuple[_Text, _Text]]:
    if isinstance(headers, Mapping):
        return cast("Mapping[_Text, _Text]", headers).items()
    return headers or ()


def _cookie_header(cookies: Mapping[str, str]) -> bytes:
    for name, value in cookies.items():
        if not name or any(c in ";\r\n" for c in name + value) or "=" in name:
            raise ValueError(f"a cookie cannot be {name!r} = {value!r}: it would be cut up")
    return "; ".join(f"{name}={value}" for name, value in cookies.items()).encode("latin-1")


def _encode(text: _Text) -> bytes:
    return text.encode("latin-1") if isinstance(text, str) else text
