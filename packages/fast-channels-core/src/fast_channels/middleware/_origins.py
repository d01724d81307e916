"""Origins (RFC 6454) and the patterns that allow them."""

import re
import unicodedata
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address

__all__ = ["Origin", "OriginPattern", "parse_authority", "parse_origin", "parse_pattern"]

DEFAULT_PORTS = {"http": 80, "https": 443}

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.ASCII | re.IGNORECASE)
_AUTHORITY = re.compile(
    r"(\[[0-9a-f:.]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?)(?::([0-9]{1,5}))?",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a page came from. The host is in lower case; IPv6 addresses are in brackets."""

    scheme: str
    host: str
    port: int | None
    """The default port where none was written; None for schemes that have no default."""


@dataclass(frozen=True, slots=True)
class OriginPattern:
    """A set of origins; with a scheme the port counts too, if only as the default one."""

    scheme: str | None
    host: str
    port: int | None
    subdomains: bool

    def matches(self, origin: Origin) -> bool:
        if self.scheme is not None:
            if (origin.scheme, origin.port) != (self.scheme, self.port):
                return False
        elif self.port not in (None, origin.port):
            return False
        if origin.host == self.host:
            return True
        # The dot is what keeps evil-example.com out of .example.com.
        return self.subdomains and origin.host.endswith(f".{self.host}")


def parse_authority(text: str) -> tuple[str, int | None] | None:
    """Host and port as a Host header has them; None for anything else, user names included."""
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        return None
    host, port = match[1].lower(), int(match[2]) if match[2] else None
    if port is not None and not 0 < port < 65536:
        return None
    if host.startswith("["):
        try:
            host = f"[{IPv6Address(host[1:-1])}]"
        except AddressValueError:
            return None
    # With the dot of the root at its end it is the same name in the DNS.
    return host.removesuffix("."), port


def parse_origin(text: str) -> Origin | None:
    """What an Origin header says; None for ``null`` and for what no browser would send.

    An origin ends with host or port, so a path, a query or a user name makes it invalid
    instead of being skipped: what is skipped here might be what somebody else looks at.
    """
    scheme, separator, rest = text.partition("://")
    authority = parse_authority(rest)
    if not separator or authority is None or not _SCHEME.fullmatch(scheme):
        return None
    scheme = scheme.lower()
    host, port = authority
    return Origin(scheme, host, DEFAULT_PORTS.get(scheme) if port is None else port)


def parse_pattern(text: str) -> OriginPattern:
    """A pattern as it was configured; raises ``ValueError`` that says how to write it."""
    scheme, separator, rest = text.rpartition("://")
    scheme, subdomains, rest = scheme.lower(), rest.startswith("."), rest.removeprefix(".")
    if separator and not _SCHEME.fullmatch(scheme):
        raise _malformed(text, f"{scheme!r} is not a scheme")
    if scheme in ("ws", "wss"):
        page = scheme.replace("ws", "http")
        raise _malformed(text, f"an origin is that of a page, so it starts with '{page}://'")
    if any(sign in rest for sign in "/?#@\\"):
        raise _malformed(text, "it ends after host and port, without a path, and names no user")
    if "*" in rest:
        raise _malformed(text, "a dot in front of the host is the wildcard for subdomains")
    if rest.count(":") > 1 and not rest.startswith("["):
        raise _malformed(text, "an IPv6 address is written in brackets")
    authority = parse_authority(_ascii(text, rest))
    if authority is None:
        raise _malformed(text, "there is no valid host and port in it")
    host, port = authority
    if subdomains and (host.startswith("[") or host.rpartition(".")[2].isdigit()):
        raise _malformed(text, "an address has no subdomains")
    if separator and port is None:
        port = DEFAULT_PORTS.get(scheme)
    return OriginPattern(scheme if separator else None, host, port, subdomains)


def _ascii(pattern: str, authority: str) -> str:
    """With the host in the form that browsers send, which is punycode."""
    if authority.isascii():
        return authority
    host, colon, port = authority.partition(":")
    host = unicodedata.normalize("NFC", host.lower())
    try:
        encoded = host.encode("idna").decode("ascii")
        same = encoded.encode("ascii").decode("idna") == host
    except UnicodeError:
        same, encoded = False, ""
    if not same:
        # Python knows IDNA 2003, browsers a later one. They differ for a few characters, and
        # there 'straße' would let in 'strasse', which may be somebody else's.
        raise _malformed(pattern, "this host has to be given in punycode ('xn--…')")
    return f"{encoded}{colon}{port}"


def _malformed(pattern: str, why: str) -> ValueError:
    return ValueError(
        f"{pattern!r} is not an origin pattern: {why}. Patterns are like 'https://example.com', "
        "'https://example.com:8443', 'example.com' (any scheme and port), '.example.com' (its "
        "subdomains too), 'null' and '*'"
    )
