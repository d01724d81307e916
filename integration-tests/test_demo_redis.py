"""The demo with Redis: two processes that serve, a worker for jobs, a counter, a script."""

import json
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
import redis
from demo_program import Demo, StartDemo, close_frame, heard, open_socket, request, say
from redis_servers import RedisServer
from redis_servers.fixtures import binary_or_skip
from websockets.sync.client import ClientConnection

WITHIN = 60


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    binary_or_skip("valkey")
    demo = Demo(0, "--redis", "--workers", "2")
    yield demo
    demo.kill()


@pytest.fixture(scope="module")
def sender(demo: Demo) -> str:
    """The command that the demo has printed."""
    assert demo.next_line() == "From another terminal, this notifies all pages:\n"
    return demo.next_line().strip()


def in_two_processes(
    demo: Demo, path: str, stack: ExitStack
) -> tuple[ClientConnection, ClientConnection]:
    """Two sockets that are not served by the same process, before their first frame is read."""
    give_up_at = time.monotonic() + WITHIN
    first = stack.enter_context(open_socket(demo, path))
    process = heard(first, "welcome")["process"]
    while time.monotonic() < give_up_at:
        with ExitStack() as attempt:
            second = attempt.enter_context(open_socket(demo, path))
            if heard(second, "welcome")["process"] != process:
                stack.push(attempt.pop_all())
                return first, second
    pytest.fail("all were served by one process")


def test_room_is_one_over_two_processes(demo: Demo) -> None:
    with ExitStack() as stack:
        first, second = in_two_processes(demo, "/ws/rooms/lobby?name=Ada", stack)
        # The second called the roll, and the first has answered in its own process.
        answered = heard(second, "present")["member"]
        say(second, type="rename", name="Grace")
        renamed = heard(first, "renamed")["member"]
        assert answered["id"] != renamed["id"]

        processes = set[int]()
        for speaker, text in ((first, "Hello"), (second, "Good morning")):
            say(speaker, type="message", text=text, ref="1")
            told = [heard(client, "message") for client in (first, second)]
            assert told[0] == told[1]
            assert told[0]["text"] == text
            processes.add(told[0]["process"])
        assert len(processes) == 2

        second.close()
        while heard(first, "left")["member"] != renamed:
            pass  # it is of those who were in the same process


def test_reliable_chat_is_one_over_two_processes(demo: Demo) -> None:
    with ExitStack() as stack:
        first, second = in_two_processes(demo, "/ws/reliable?name=Ada", stack)
        say(second, type="message", text="Hello", ref="1")
        assert heard(first, "message") == heard(second, "message")


def test_worker_does_the_jobs_and_everybody_may_follow(demo: Demo) -> None:
    with ExitStack() as stack:
        first, second = in_two_processes(demo, "/ws/jobs", stack)
        say(first, type="start", job="report", text="channels and layers", ref="1")
        job = heard(first, "started")["id"]
        say(second, type="follow", id=job)
        assert heard(second)["id"] == job
        done = [heard(first)["done"] for _ in range(10)]
        assert done == list(range(1, 11))
        for client in (first, second):
            assert heard(client, "finished")["result"] == "3 words, longest 'channels'"

        say(second, type="start", job="fail", text="x", ref="2")
        failed = heard(second, "failed")
        assert failed["error"] == "This job always fails after two steps."
        say(first, type="follow", id=failed["id"])
        assert heard(first) == failed
        say(first, type="follow", id="nothing")
        assert heard(first) == {"type": "unknown", "id": "nothing"}


def test_script_and_view_notify_the_pages_of_both_processes(demo: Demo, sender: str) -> None:
    with ExitStack() as stack:
        pages = in_two_processes(demo, "/ws/notifications", stack)
        counters = stack.enter_context(open_socket(demo, "/ws/analytics"))
        before = heard(counters, "totals")["counts"]["notifications"]
        subprocess.run(sender, shell=True, env=demo.environment, check=True, timeout=60)
        for page in pages:
            told = heard(page, "notification")
            assert (told["text"], told["source"]) == ("Good morning", "script")
        body = {"text": "Mind the gap", "level": "warning"}
        assert request(demo, "POST", "/notifications", body).status == 202
        for page in pages:
            told = heard(page, "notification")
            assert (told["text"], told["level"], told["source"]) == (*body.values(), "page")
        while heard(counters, "totals")["counts"]["notifications"] != before + 2:
            pass


def test_one_counter_counts_for_both_processes(demo: Demo) -> None:
    with ExitStack() as stack:
        pages = in_two_processes(demo, "/ws/analytics", stack)
        before = heard(pages[0], "totals")["counts"]["echoes"]
        for system in in_two_processes(demo, "/ws/system", stack):
            say(system, type="echo", text="hello")
            heard(system, "echo")
        for page in pages:
            while heard(page, "totals")["counts"]["echoes"] != before + 2:
                pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_all_that_was_started(start_demo: StartDemo, number: int) -> None:
    demo = start_demo(0, "--redis", "--workers", "2")
    with ExitStack() as stack:
        pages = in_two_processes(demo, "/ws/rooms/lobby?name=Ada", stack)
        code, output = demo.stop(number)
        assert code == 0
        assert output.endswith("Stopped.\n")
        for page in pages:
            code, reason = close_frame(page)
            assert code == 1012  # service restart
            assert 0 <= json.loads(reason)["retry_after"] <= 2


def test_demo_ends_with_the_server_that_it_needs(start_demo: StartDemo) -> None:
    demo = start_demo(0, "--redis")
    demo.next_line()
    url = shlex.split(demo.next_line())[0].removeprefix("REDIS_URL=")
    with redis.from_url(url) as client, suppress(redis.ConnectionError):
        client.execute_command("SHUTDOWN", "NOSAVE")  # pyright: ignore[reportUnknownMemberType]  # redis-py's
    output = demo.process.communicate(timeout=WITHIN)[0]
    assert demo.process.returncode == 1
    assert "Redis has ended with exit code 0, so the demo ends, too." in output
    assert output.endswith("Stopped.\n")


def test_page_is_told_that_redis_was_away(start_demo: StartDemo) -> None:
    with RedisServer(binary_or_skip("valkey")) as server, ExitStack() as stack:
        demo = start_demo(redis_url=server.start().url)
        room = stack.enter_context(open_socket(demo, "/ws/rooms/lobby?name=Ada"))
        other = stack.enter_context(open_socket(demo, "/ws/rooms/lobby?name=Grace"))
        reliable = stack.enter_context(open_socket(demo, "/ws/reliable?name=Ada"))
        assert heard(room, "joined")["member"] == heard(other, "welcome")["you"]
        heard(reliable, "welcome")

        server.restart(keep_data=False)
        heard(room, "missed")
        assert heard(room, "present")["member"]["name"] == "Grace"
        heard(reliable, "missed")
        for client in (room, reliable):
            say(client, type="message", text="Still here", ref="1")
            assert heard(client, "message")["text"] == "Still here"
        assert demo.stop(signal.SIGTERM)[0] == 0
