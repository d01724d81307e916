import logging
from collections.abc import Iterable, MutableMapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fast_channels.middleware import OriginValidator, WebsocketDenier
from fast_channels.types import ASGIApp, Receive, Scope, Send

ACCEPTED: list[MutableMapping[str, Any]] = [{"type": "websocket.accept"}]
REFUSED: list[MutableMapping[str, Any]] = [{"type": "websocket.close", "code": 1008}]


async def accept(scope: Scope, receive: Receive, send: Send) -> None:
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})


async def run(
    app: ASGIApp, scope: Scope, first: str = "websocket.connect"
) -> list[MutableMapping[str, Any]]:
    sent: list[MutableMapping[str, Any]] = []
    events: list[MutableMapping[str, Any]] = [{"type": first}]

    async def receive() -> MutableMapping[str, Any]:
        return events.pop(0)

    async def send(event: MutableMapping[str, Any]) -> None:
        sent.append(event)

    await app(scope, receive, send)
    return sent


async def is_allowed(
    validator: OriginValidator,
    *origins: str,
    host: str | Iterable[str] = "unrelated.test",
    scheme: str = "ws",
    forwarded: dict[str, str] | None = None,
) -> bool:
    hosts = [host] if isinstance(host, str) else host
    headers = [("host", value) for value in hosts]
    headers += [("origin", value) for value in origins]
    headers += (forwarded or {}).items()
    scope: Scope = {
        "type": "websocket",
        "scheme": scheme,
        "path": "/ws/",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }
    sent = await run(validator, scope)
    assert sent in (ACCEPTED, REFUSED)
    return sent == ACCEPTED


# pattern, origin, allowed
PATTERNS = [
    # a full origin: scheme, host and port
    ("https://example.com", "https://example.com", True),
    ("https://example.com", "https://example.com:443", True),
    ("https://example.com:443", "https://example.com", True),
    ("http://example.com", "http://example.com:80", True),
    ("https://example.com", "http://example.com", False),
    ("https://example.com", "http://example.com:443", False),
    ("https://example.com", "https://example.com:8443", False),
    ("https://example.com:8443", "https://example.com:8443", True),
    ("https://example.com:8443", "https://example.com", False),
    ("http://localhost:5173", "http://localhost:5173", True),
    ("http://localhost:5173", "http://localhost:3000", False),
    ("https://example.com", "https://www.example.com", False),
    ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh", True),
    ("chrome-extension://abcdefgh", "chrome-extension://abcdefgi", False),
    ("chrome-extension://abcdefgh", "https://abcdefgh", False),
    # case
    ("https://Example.COM", "https://example.com", True),
    ("https://example.com", "HTTPS://EXAMPLE.com", True),
    ("HTTPS://example.com", "https://example.com", True),
    # a host: any scheme, any port
    ("example.com", "https://example.com", True),
    ("example.com", "http://example.com", True),
    ("example.com", "http://example.com:8000", True),
    ("example.com", "https://www.example.com", False),
    ("example.com", "https://example.com.evil.com", False),
    ("example.com", "https://evil-example.com", False),
    ("example.com", "https://exampleXcom", False),
    ("localhost", "http://localhost:3000", True),
    ("127.0.0.1", "http://127.0.0.1:3000", True),
    # a host and a port
    ("example.com:8443", "https://example.com:8443", True),
    ("example.com:8443", "http://example.com:8443", True),
    ("example.com:8443", "https://example.com", False),
    ("example.com:443", "https://example.com", True),
    ("example.com:443", "http://example.com", False),
    # subdomains
    (".example.com", "https://example.com", True),
    (".example.com", "https://www.example.com", True),
    (".example.com", "https://a.b.example.com:8443", True),
    (".example.com", "https://WWW.Example.com", True),
    (".example.com", "https://evil-example.com", False),
    (".example.com", "https://evilexample.com", False),
    (".example.com", "https://example.com.evil.com", False),
    (".example.com", "https://example.co", False),
    (".example.com", "https://.example.com", False),
    (".example.com", "https://evil.com/.example.com", False),
    (".example.com", "https://evil.com#.example.com", False),
    (".example.com", "https://evil.com?.example.com", False),
    (".example.com", "https://evil.com\\.example.com", False),
    (".example.com", "https://evil.com:80.example.com", False),
    (".example.com", "https://evil.com\x00.example.com", False),
    (".example.com", "https://evil.com .example.com", False),
    (".example.com:8443", "https://www.example.com:8443", True),
    (".example.com:8443", "https://www.example.com", False),
    ("https://.example.com", "https://www.example.com", True),
    ("https://.example.com", "https://example.com", True),
    ("https://.example.com", "http://www.example.com", False),
    ("https://.example.com", "https://www.example.com:8443", False),
    # the root's dot
    ("example.com", "https://example.com.", True),
    ("example.com.", "https://example.com", True),
    ("example.com", "https://example.com..", False),
    # IPv6
    ("[::1]", "http://[::1]:8000", True),
    ("[::1]:8000", "http://[::1]:8000", True),
    ("[::1]:8000", "http://[::1]", False),
    ("http://[::1]:8000", "http://[0:0:0:0:0:0:0:1]:8000", True),
    ("https://[2001:DB8::1]", "https://[2001:db8::1]", True),
    ("[::1]", "http://[::2]", False),
    ("[::1]", "http://::1", False),
    ("[::1]", "http://[::1].", False),
    ("[::1]", "http://[::1", False),
    ("[::1]", "http://[1:2]", False),
    # Unicode and punycode
    ("bücher.example", "https://xn--bcher-kva.example", True),
    ("BÜCHER.example", "https://xn--bcher-kva.example", True),
    ("https://.bücher.example:8443", "https://www.xn--bcher-kva.example:8443", True),
    ("xn--bcher-kva.example", "https://XN--BCHER-kva.example", True),
    ("bücher.example", "https://bücher.example", False),  # no browser sends that
    ("bücher.example", "https://bucher.example", False),
    ("xn--strae-oqa.example", "https://xn--strae-oqa.example", True),
    # null, and anything
    ("null", "null", True),
    ("null", "https://null", False),
    ("https://example.com", "null", False),
    ("example.com", "null", False),
    ("*", "null", True),
    ("*", "https://whatever.test:1", True),
    ("*", "file://", True),
    # what is not an origin
    ("example.com", "https://example.com/", False),
    ("example.com", "https://example.com/path", False),
    ("example.com", "https://user@example.com", False),
    ("example.com", "https://user:pw@example.com", False),
    ("example.com", "https://evil.com@example.com", False),
    ("example.com", "https://example.com@evil.com", False),
    ("example.com", "https://example.com:", False),
    ("example.com", "https://example.com:0", False),
    ("example.com", "https://example.com:65536", False),
    ("example.com", "https://example.com:x", False),
    ("example.com", "https://example.com, https://example.com", False),
    ("example.com", "https://example.com https://evil.com", False),
    ("example.com", "https://", False),
    ("example.com", "https:example.com", False),
    ("example.com", "https:///example.com", False),
    ("example.com", "//example.com", False),
    ("example.com", "example.com", False),
    ("example.com", "", False),
    ("example.com", "https://example.com\nhttps://evil.com", False),
    ("example.com", "https://example.com\n", False),
    ("example.com", "https://ex\xe4mple.com", False),
    ("1.com", "https://1\xb2.com", False),
    ("k.com", "https://\u212a.com".encode().decode("latin-1"), False),
]


@pytest.mark.parametrize(("pattern", "origin", "allowed"), PATTERNS)
async def test_pattern(pattern: str, origin: str, allowed: bool) -> None:
    assert await is_allowed(OriginValidator(accept, [pattern]), origin) is allowed


# host, scheme of the connection, origin, allowed
SAME_ORIGIN = [
    ("example.com", "ws", "http://example.com", True),
    ("example.com", "wss", "https://example.com", True),
    ("example.com:80", "ws", "http://example.com", True),
    ("example.com", "ws", "http://example.com:80", True),
    ("example.com:443", "wss", "https://example.com", True),
    ("example.com:8000", "ws", "http://example.com:8000", True),
    ("EXAMPLE.com", "ws", "http://example.COM", True),
    ("example.com.", "ws", "http://example.com.", True),
    ("xn--bcher-kva.example", "wss", "https://xn--bcher-kva.example", True),
    ("[::1]:8000", "ws", "http://[::1]:8000", True),
    ("[::1]", "ws", "http://[0::1]", True),
    ("localhost:8000", "ws", "http://localhost:8000", True),
    # A proxy in front ended TLS.
    ("example.com", "ws", "https://example.com", True),
    ("example.com:8443", "ws", "https://example.com:8443", True),
    # A page that anybody in between could have changed.
    ("example.com", "wss", "http://example.com", False),
    ("example.com:8443", "wss", "http://example.com:8443", False),
    ("example.com", "https", "http://example.com", False),
    # Other ports are other origins.
    ("example.com:8000", "ws", "http://example.com:8001", False),
    ("example.com:8000", "ws", "http://example.com", False),
    ("example.com", "ws", "http://example.com:8000", False),
    ("example.com:80", "ws", "https://example.com", False),
    ("localhost:8000", "ws", "http://127.0.0.1:8000", False),
    ("[::1]:8000", "ws", "http://[::2]:8000", False),
    # Other hosts.
    ("example.com", "ws", "http://evil.com", False),
    ("example.com", "ws", "http://www.example.com", False),
    ("www.example.com", "ws", "http://example.com", False),
    ("example.com", "ws", "http://evil-example.com", False),
    ("example.com", "ws", "http://example.com.evil.com", False),
    ("example.com", "ws", "http://example.com@evil.com", False),
    ("example.com", "ws", "null", False),
    ("null", "ws", "null", False),
    ("example.com", "ws", "chrome-extension://example.com", False),
    ("example.com", "ws", "ws://example.com", False),
    # What is not a Host.
    ("", "ws", "http://", False),
    ("evil.com@example.com", "ws", "http://example.com", False),
    ("example.com/", "ws", "http://example.com", False),
    ("example.com,evil.com", "ws", "http://example.com", False),
    ("example.com:x", "ws", "http://example.com", False),
]


@pytest.mark.parametrize(("host", "scheme", "origin", "allowed"), SAME_ORIGIN)
async def test_same_origin(host: str, scheme: str, origin: str, allowed: bool) -> None:
    assert await is_allowed(OriginValidator(accept), origin, host=host, scheme=scheme) is allowed


@pytest.mark.parametrize("hosts", [[], ["example.com", "example.com"], ["example.com", "evil.com"]])
async def test_same_origin_takes_exactly_one_host(hosts: list[str]) -> None:
    assert not await is_allowed(OriginValidator(accept), "http://example.com", host=hosts)


# X-Forwarded-Host, X-Forwarded-Proto, origin, allowed; the connection is ws to backend:8000
FORWARDED = [
    ("example.com", "https", "https://example.com", True),
    ("example.com", "https", "http://example.com", False),
    ("example.com", "wss", "http://example.com", False),
    ("example.com", "HTTPS, http", "http://example.com", False),
    ("example.com", "http", "http://example.com", True),
    ("example.com", None, "https://example.com", True),
    ("example.com:8443", "https", "https://example.com:8443", True),
    ("example.com, inner.test", "https", "https://example.com", True),
    ("example.com, inner.test", "https", "https://inner.test", False),
    ("example.com", "https", "https://evil.com", False),
    ("example.com", "https", "http://backend:8000", False),
    (None, None, "http://backend:8000", True),
    (None, "https", "http://backend:8000", False),
    ("", "https", "https://backend:8000", False),
]


@pytest.mark.parametrize(("host", "proto", "origin", "allowed"), FORWARDED)
async def test_trusted_forwarded_host(
    host: str | None, proto: str | None, origin: str, allowed: bool
) -> None:
    validator = OriginValidator(accept, trusted_forwarded_host=True)
    named = {"x-forwarded-host": host, "x-forwarded-proto": proto}
    forwarded = {name: value for name, value in named.items() if value is not None}
    assert await is_allowed(validator, origin, host="backend:8000", forwarded=forwarded) is allowed


async def test_forwarded_headers_are_not_trusted_by_default() -> None:
    forwarded = {"x-forwarded-host": "evil.com", "x-forwarded-proto": "http"}
    validator = OriginValidator(accept)
    assert not await is_allowed(validator, "http://evil.com", forwarded=forwarded)
    assert await is_allowed(validator, "http://a.test", host="a.test", forwarded=forwarded)


@pytest.mark.parametrize("allowed_origins", [None, ["example.com"], ["null"], []])
async def test_missing_origin(allowed_origins: list[str] | None) -> None:
    assert not await is_allowed(OriginValidator(accept, allowed_origins))
    lenient = OriginValidator(accept, allowed_origins, allow_missing=True)
    assert await is_allowed(lenient)
    assert not await is_allowed(lenient, "https://evil.com")
    assert not await is_allowed(lenient, "")


async def test_the_star_needs_no_origin() -> None:
    assert await is_allowed(OriginValidator(accept, ["example.com", "*"]))


@pytest.mark.parametrize("allowed_origins", [None, ["unrelated.test"], ["*"]])
async def test_several_origins_are_refused(allowed_origins: list[str] | None) -> None:
    validator = OriginValidator(accept, allowed_origins, allow_missing=True)
    assert await is_allowed(validator, "http://unrelated.test")
    assert not await is_allowed(validator, "http://unrelated.test", "http://unrelated.test")
    assert not await is_allowed(validator, "http://unrelated.test", "https://evil.com")


async def test_header_names_in_capitals_do_not_get_around_the_check() -> None:
    scope: Scope = {"type": "websocket", "headers": [(b"Origin", b"https://evil.com")]}
    validator = OriginValidator(accept, ["example.com"], allow_missing=True)
    assert await run(validator, scope) == REFUSED


async def test_an_empty_list_refuses_everything() -> None:
    validator = OriginValidator(accept, [])
    assert not await is_allowed(validator, "http://a.test", host="a.test")


async def test_one_of_several_patterns_is_enough() -> None:
    validator = OriginValidator(accept, (p for p in ["https://a.test", ".b.test", "null"]))
    assert await is_allowed(validator, "https://a.test")
    assert await is_allowed(validator, "https://x.b.test")
    assert await is_allowed(validator, "null")
    assert not await is_allowed(validator, "https://c.test")


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("", "no valid host"),
        (".", "no valid host"),
        ("..example.com", "no valid host"),
        (" example.com", "no valid host"),
        ("a.com, b.com", "no valid host"),
        ("https://", "no valid host"),
        ("example.com:x", "no valid host"),
        ("example.com:0", "no valid host"),
        ("example.com:99999", "no valid host"),
        ("[::g]", "no valid host"),
        ("https:example.com", "no valid host"),
        ("https://example.com/", "without a path"),
        ("https://example.com/path", "without a path"),
        ("https://example.com?x", "without a path"),
        ("user@example.com", "names no user"),
        ("https://user:pw@example.com", "names no user"),
        ("wss://example.com", "starts with 'https://'"),
        ("WS://example.com", "starts with 'http://'"),
        ("1http://example.com", "not a scheme"),
        ("a://b://example.com", "not a scheme"),
        ("://example.com", "not a scheme"),
        ("*.example.com", "a dot in front"),
        ("https://*", "a dot in front"),
        ("example.com:*", "a dot in front"),
        ("::1", "in brackets"),
        ("http://::1", "in brackets"),
        (".127.0.0.1", "no subdomains"),
        (".[::1]", "no subdomains"),
        ("straße.example", "punycode"),
        ("ｅｘａｍｐｌｅ.com", "punycode"),  # noqa: RUF001 - the point is that they look alike
        ("a\u200db.example", "punycode"),
        ("bücher..example", "punycode"),
    ],
)
def test_malformed_patterns_are_refused_at_construction(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match="is not an origin pattern") as caught:
        OriginValidator(accept, ["https://fine.test", pattern])
    assert repr(pattern) in str(caught.value)
    assert reason in str(caught.value)


def test_a_string_is_not_a_list_of_patterns() -> None:
    with pytest.raises(TypeError, match=r"is a list of patterns; write \['example.com'\]"):
        OriginValidator(accept, "example.com")


def test_patterns_are_str() -> None:
    untyped: Any = [b"example.com"]
    with pytest.raises(TypeError, match=r"b'example\.com'"):
        OriginValidator(accept, untyped)


async def test_a_refusal_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "fast_channels.middleware"):
        await is_allowed(OriginValidator(accept, ["example.com"]), "https://evil.com\r\nfake line")
        await is_allowed(OriginValidator(accept, ["example.com"]), "https://example.com")
    assert len(caplog.records) == 1
    line = caplog.records[0].getMessage()
    assert "'/ws/'" in line
    assert r"'https://evil.com\r\nfake line' is malformed" in line


@pytest.mark.parametrize("kind", ["http", "lifespan"])
async def test_other_connections_pass_through(kind: str) -> None:
    seen: list[Scope] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    scope: Scope = {"type": kind, "headers": [(b"origin", b"https://evil.com")]}
    await OriginValidator(inner, ["example.com"])(scope, None, None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - not used
    assert seen == [scope]


_label = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
_host = st.lists(_label, min_size=1, max_size=4).map(".".join)


@given(
    host=_host, port=st.none() | st.integers(1, 65535), scheme=st.sampled_from(["http", "https"])
)
async def test_any_origin_is_the_same_as_itself(host: str, port: int | None, scheme: str) -> None:
    authority = host if port is None else f"{host}:{port}"
    origin = f"{scheme}://{authority}"
    secure = "wss" if scheme == "https" else "ws"
    assert await is_allowed(OriginValidator(accept, [origin]), origin)
    assert await is_allowed(OriginValidator(accept), origin, host=authority, scheme=secure)
    assert not await is_allowed(OriginValidator(accept), origin, host=f"x{authority}")


@given(junk=st.text(st.characters(codec="latin-1"), max_size=12), host=_host)
async def test_only_a_dot_makes_a_subdomain(junk: str, host: str) -> None:
    apex = "apex.test"
    allowed = await is_allowed(OriginValidator(accept, [f".{apex}"]), f"https://{junk}{apex}")
    if allowed:
        assert junk == "" or junk.endswith(".")
        assert not set(junk) & set("/@:?#\\ ,")
    assert await is_allowed(OriginValidator(accept, [f".{apex}"]), f"https://{host}.{apex}")
    assert not await is_allowed(OriginValidator(accept, [f".{apex}"]), f"https://{apex}.{host}")


@pytest.mark.parametrize("denier", [WebsocketDenier(), WebsocketDenier.as_asgi()])
async def test_denier_refuses(denier: ASGIApp) -> None:
    assert await run(denier, {"type": "websocket"}) == REFUSED


async def test_denier_says_nothing_to_a_client_that_is_gone() -> None:
    assert await run(WebsocketDenier(), {"type": "websocket"}, "websocket.disconnect") == []


async def test_denier_takes_websockets_only() -> None:
    with pytest.raises(ValueError, match="'http'"):
        await run(WebsocketDenier(), {"type": "http"})
