"""README.md does as it is told: its example is served and chatted with, word for word."""

import re
from pathlib import Path

from clients import heard, open_websocket, say
from serving import Server, free_port

from fast_channels.layers import group_name

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def the_only(found: list[str], what: str) -> str:
    assert len(found) == 1, f"README.md has {len(found)} of: {what}"
    return found[0]


def commands() -> list[str]:
    return [
        line for kind, block in BLOCKS if kind in ("", "sh", "bash") for line in block.splitlines()
    ]


def chat_path() -> str:
    return the_only(re.findall(r"`ws://127\.0\.0\.1:8000(/\S+)`", README), "`ws://…`")


def test_both_commands_are_there() -> None:
    for session in ("demo", "tests"):
        assert f"python -m pip install nox && python -m nox -s {session}" in commands()


def test_example_is_a_chat(tmp_path: Path) -> None:
    code = next(block for kind, block in BLOCKS if kind == "python" and "FastAPI(" in block)
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    (tmp_path / "app.py").write_text(code)
    command = the_only([line for line in commands() if line.startswith("uvicorn ")], "uvicorn …")

    port = free_port()
    with (
        Server([*command.split(), "--port", str(port)], port, tmp_path, ready="/") as server,
        open_websocket(server, chat_path()) as ada,
        open_websocket(server, chat_path()) as bob,
    ):
        with open_websocket(server, f"{chat_path()}-next-door") as eve:
            say(ada, "hello")
            assert heard(ada) == heard(bob) == {"text": "hello"}
            say(bob, "hello, too")
            assert heard(ada) == heard(bob) == {"text": "hello, too"}
            say(eve, "anybody?")
            assert heard(eve) == {"text": "anybody?"}
        say(ada, "last words")
        assert heard(ada) == heard(bob) == {"text": "last words"}
        server.stop()
        assert not re.search("warning|error|traceback", server.output(), re.IGNORECASE)


def test_name_of_the_room_is_the_one_in_the_text() -> None:
    sent_to = the_only(re.findall(r'get_channel_layer\(\)\.group_send\("([^"]+)"', README), "sends")
    assert sent_to == group_name("room", chat_path().rpartition("/")[2])
