"""The demo as a program: its address, a taken port, bad input, and its end."""

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from demo_program import (
    TUTORIAL,
    Demo,
    Frame,
    StartDemo,
    close_frame,
    heard,
    open_socket,
    request,
    say,
)
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection

ENDPOINTS = (
    "/ws/system",
    "/ws/rooms/lobby?name=Ada",
    "/ws/jobs",
    "/ws/reliable?name=Ada",
    "/ws/notifications",
    "/ws/analytics",
)


def test_address_is_printed_once_it_answers(start_demo: StartDemo) -> None:
    demo = start_demo()
    assert demo.greeting == f"Live at http://127.0.0.1:{demo.port} (Ctrl+C ends it)\n"
    response = request(demo, "GET", "/rooms/any%20room")
    assert response.status == 200
    assert response.headers["Content-Security-Policy"].startswith("default-src 'self';")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_closes_open_sockets_and_ends_quietly(start_demo: StartDemo, number: int) -> None:
    demo = start_demo()
    assert request(demo, "GET", "/ready").status == 200
    with ExitStack() as stack:
        opened = [stack.enter_context(open_socket(demo, path)) for path in ENDPOINTS]
        for connection in opened:
            assert heard(connection)["type"] == "welcome"
        assert demo.stop(number) == (0, "Stopped.\n")
        for connection in opened:
            code, reason = close_frame(connection)
            assert code == 1012  # service restart
            assert 0 <= json.loads(reason)["retry_after"] <= 2


def test_taken_port_is_explained(start_demo: StartDemo) -> None:
    demo = start_demo()
    second = subprocess.run(
        [*demo.command, "--port", str(demo.port)],
        cwd=demo.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert second.stdout == ""
    assert second.stderr == (
        f"Port {demo.port} on 127.0.0.1 is taken by another program. "
        "Choose another port with --port, for example --port 8081, or --port 0 for any.\n"
    )


def test_refused_member_is_told_why(shared_demo: Demo) -> None:
    demo = shared_demo
    for path, reason in (
        ("/ws/rooms/%21?name=Ada", "A room name has 1 to 40 letters"),
        ("/ws/rooms/a%2Fb?name=Ada", "A room name has 1 to 40 letters"),
        (f"/ws/rooms/{'x' * 41}?name=Ada", "A room name has 1 to 40 letters"),
        ("/ws/rooms/lobby", "Your name needs 1 to 32 characters; this one has 0"),
        (f"/ws/rooms/lobby?name={'x' * 33}", "Your name needs 1 to 32 characters"),
        ("/ws/reliable?name=%20", "Your name needs 1 to 32 characters; this one has 0"),
    ):
        with open_socket(demo, path) as connection:
            code, told = close_frame(connection)
            assert (code, told[: len(reason)]) == (4400, reason)


def test_page_of_another_site_is_refused(shared_demo: Demo) -> None:
    demo = shared_demo
    for path in ENDPOINTS:
        with open_socket(demo, path, origin=demo.url) as ours:
            assert heard(ours)["type"] == "welcome"
        theirs = pytest.raises(InvalidStatus, match="HTTP 403")
        with theirs, open_socket(demo, path, origin="http://other.example"):
            pass


BAD_FRAMES: dict[str, list[object]] = {
    "/ws/system": [{"type": "echo"}, {"type": "echo", "text": "x" * 201}],
    "/ws/rooms/lobby?name=Ada": [
        {"type": "message", "text": "no ref"},
        {"type": "message", "text": " ", "ref": "1"},
        {"type": "message", "text": "x" * 2001, "ref": "1"},
        {"type": "message", "text": "x", "ref": "x" * 65},
        {"type": "rename", "name": "x" * 33},
        {"type": "roll.call", "member": {"id": "1", "name": "nobody"}},
    ],
    "/ws/jobs": [
        {"type": "start", "job": "run", "text": "x", "ref": "1"},
        {"type": "start", "job": "report", "text": "", "ref": "1"},
        {"type": "start", "job": "report", "text": "x"},
        {"type": "follow", "id": 1},
        {"type": "follow", "id": "x" * 65},
    ],
    "/ws/reliable?name=Ada": [
        {"type": "message", "text": "", "ref": "1"},
        {"type": "message", "text": "x", "ref": ""},
    ],
    "/ws/notifications": [],
    "/ws/analytics": [],
}
WITH_A_FULL_QUEUE = """
import asyncio

import runners
from fast_channels.testing import WebsocketCommunicator, lifespan
from main import app

runners.MAX_WAITING = 0


async def main():
    async with (
        lifespan(app) as running,
        WebsocketCommunicator(running, "/ws/jobs", timeout=30) as client,
    ):
        await client.receive_json()
        for _ in range(21):
            await client.send_json({"type": "start", "job": "report", "text": "x", "ref": "1"})
            print((await client.receive_json())["detail"])


asyncio.run(main())
"""
OLD_DEPENDENCIES = ("-W", "default::DeprecationWarning")
"""Old releases of what the application imports deprecate each other, before a line of ours runs."""

NOT_UNDERSTOOD: list[object] = ["hello", [], {}, {"type": []}]
NO_FRAMES = ("", "{", "hello", b"\xff", '"\\ud800"', "[" * 20_000, " " * 20_000)


def test_bad_frames_get_an_error_and_the_connection_goes_on(shared_demo: Demo) -> None:
    for path, frames in BAD_FRAMES.items():
        with open_socket(shared_demo, path) as connection:
            assert heard(connection)["type"] == "welcome"
            for bad in NO_FRAMES:
                connection.send(bad)
                assert heard(connection, "error", "welcome")["type"] == "error", bad
            if not frames:
                continue  # it is sent nothing that it would answer
            for frame in (*frames, *NOT_UNDERSTOOD):
                connection.send(json.dumps(frame))
                assert heard(connection)["detail"], frame


@pytest.mark.parametrize(
    "body",
    [None, "text", {}, {"text": " "}, {"text": "x" * 201}, {"text": "x", "level": "shout"}],
)
def test_bad_notification_is_refused(shared_demo: Demo, body: object) -> None:
    assert request(shared_demo, "POST", "/notifications", body).status == 422


def test_page_follows_some_jobs_at_a_time(shared_demo: Demo) -> None:
    with open_socket(shared_demo, "/ws/jobs") as connection:
        for number in range(25):  # what nobody knows is not followed any longer
            say(connection, type="follow", id=f"job-{number}")
            assert heard(connection, "unknown", "error")["type"] == "unknown"
        # They start much faster than they finish.
        while (answer := start_report(connection))["type"] == "started":
            pass
        assert answer["detail"] == "You follow 20 jobs already."
        heard(connection, "finished")
        assert start_report(connection)["type"] == "started"


def run_beside(demo: Demo, *command: str) -> subprocess.CompletedProcess[str]:
    """Another program in the demo's folder, with its environment."""
    return subprocess.run(
        command,
        cwd=demo.folder,
        env=demo.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_refused_job_is_not_followed(shared_demo: Demo) -> None:
    refused = run_beside(shared_demo, sys.executable, "-c", WITH_A_FULL_QUEUE)
    assert refused.returncode == 0, refused.stderr
    assert {*refused.stdout.splitlines()} == {"Too many jobs wait already. Try again in a moment."}


def start_report(connection: ClientConnection) -> Frame:
    say(connection, type="start", job="report", text="some words", ref="1")
    return heard(connection, "started", "error")


def test_several_processes_need_redis(shared_demo: Demo) -> None:
    refused = run_beside(shared_demo, *shared_demo.command, "--workers", "2")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "several workers reach each other only through Redis: add --redis" in refused.stderr


def test_script_that_cannot_reach_anybody_says_so(shared_demo: Demo) -> None:
    sent = run_beside(shared_demo, shared_demo.command[0], "send.py", "Hello")
    assert (sent.returncode, sent.stdout) == (1, "")
    assert sent.stderr.startswith("REDIS_URL is not set")


@pytest.mark.timeout(300)  # they are seven
def test_its_own_tests_pass(tmp_path: Path) -> None:
    """In a process of their own: they register layers, and their modules have common names."""
    options = ("-q", "-W", "error", *OLD_DEPENDENCIES, "-p", "no:cacheprovider")
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(TUTORIAL)],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "REDIS_URL"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
