import pytest
from hypothesis import given
from hypothesis import strategies as st

from fast_channels._cookies import parse_cookies


@pytest.mark.parametrize(
    ("line", "cookies"),
    [
        (b"", {}),
        (b";;; ;", {}),
        (b"a=1", {"a": "1"}),
        (b"a=1; b=2", {"a": "1", "b": "2"}),
        (b"a=1;b=2", {"a": "1", "b": "2"}),
        (b" \ta = 1 ;\tb=2 ", {"a": "1", "b": "2"}),
        (b"a=1=2==", {"a": "1=2=="}),
        (b"a=", {"a": ""}),
        (b"=1", {"": "1"}),
        (b"=", {}),
        (b"flag; a=1", {"": "flag", "a": "1"}),
        (b"a=1; a=2", {"a": "2"}),
        (b"A=1; a=2", {"A": "1", "a": "2"}),
        (b'a="quoted value"', {"a": "quoted value"}),
        (b'a=""', {"a": ""}),
        (b'a="', {"a": '"'}),
        (b'a="half', {"a": '"half'}),
        (rb'a="say \"hi\" \\ \054 \303\251"', {"a": 'say "hi" \\ , \xc3\xa9'}),
        (rb'a="\400 ends with \"', {"a": "400 ends with \\"}),
        # Names and values that RFC 6265 forbids and browsers send.
        (b"[x]{y}=1,2 3; a:b=c", {"[x]{y}": "1,2 3", "a:b": "c"}),
        (b'json={"a":1}', {"json": '{"a":1}'}),
        # The second byte of this UTF-8 letter is a no-break space in Latin-1.
        ("name=voilà".encode(), {"name": "voil\xc3\xa0"}),
        ("voilà=1".encode(), {"voil\xc3\xa0": "1"}),
        (b"a=\xff\x00\x85", {"a": "\xff\x00\x85"}),
    ],
)
def test_one_header(line: bytes, cookies: dict[str, str]) -> None:
    assert parse_cookies([(b"host", b"a=no"), (b"cookie", line)]) == cookies


def test_no_cookies() -> None:
    assert parse_cookies([]) == {}
    assert parse_cookies([(b"cookies", b"a=1"), (b"set-cookie", b"b=1")]) == {}


def test_several_headers_are_one() -> None:
    # HTTP/2 splits the header (RFC 9113, 8.2.3), so this is not a client's mistake.
    headers = [(b"cookie", b"a=1; b=2"), (b"accept", b"*/*"), (b"Cookie", b"b=3; c=4")]
    assert parse_cookies(headers) == {"a": "1", "b": "3", "c": "4"}


@given(st.lists(st.binary()))
def test_never_raises(lines: list[bytes]) -> None:
    for name, value in parse_cookies([(b"cookie", line) for line in lines]).items():
        assert ";" not in name + value
        assert "=" not in name


_token = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1)


@given(st.dictionaries(_token, _token))
def test_finds_what_a_browser_sends(cookies: dict[str, str]) -> None:
    line = "; ".join(f"{name}={value}" for name, value in cookies.items())
    assert parse_cookies([(b"cookie", line.encode())]) == cookies
