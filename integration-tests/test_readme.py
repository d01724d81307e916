"""What the README says runs as it is written there."""

import re
from pathlib import Path

import pytest
from clients import heard, open_websocket, say
from serving import Server, free_port

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def block(language: str, beginning: str) -> str:
    """The code block of the README that has this in it."""
    found = [text for name, text in BLOCKS if name == language and beginning in text]
    assert len(found) == 1, f"README.md has {len(found)} blocks of {language!r} with {beginning!r}"
    return str(found[0])


@pytest.mark.parametrize("session", ["demo", "tests"])
def test_the_two_commands(session: str) -> None:
    command = block("", f"python -m nox -s {session}")
    assert command == f"python -m pip install nox && python -m nox -s {session}\n"


def test_chat_room_in_20_lines(tmp_path: Path) -> None:
    source = block("python", "FastAPI(")
    assert len([line for line in source.splitlines() if line and line[0] != "#"]) <= 20
    (tmp_path / "app.py").write_text(source)
    port = free_port()
    command = [*block("", "uvicorn app:app").split(), "--port", str(port)]
    server = Server(command, port, tmp_path, apps=tmp_path, ready="/docs")
    try:
        with (
            open_websocket(server, "/chat/lobby") as ada,
            open_websocket(server, "/chat/lobby") as bob,
            open_websocket(server, "/chat/attic") as eve,
        ):
            say(ada, "hello")
            assert heard(ada) == heard(bob) == {"text": "hello"}
            say(eve, "nobody else here")
            assert heard(eve) == {"text": "nobody else here"}
    finally:
        server.kill()
