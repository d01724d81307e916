"""A Django project on our Redis layers, beside a FastAPI application: each reaches the other's."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from secrets import token_hex

import pytest
from clients import RawClient, heard, open_websocket, say
from redis_servers import RedisServer, wait_until
from serving import APPS, DEADLINE, Server, running
from websockets.sync.client import ClientConnection

LAYERS = ("RedisChannelLayer", "RedisPubSubChannelLayer")
NOT_OURS = "ignore:async_to_sync was passed a non-async-marked callable"
"""What asgiref says of how ``runworker`` calls a sync consumer."""
CONSUMERS = ("async", "sync", "json", "async-json")


@dataclass
class Site:
    """The two applications, and the Redis between them."""

    layer: str
    prefix: str
    redis: RedisServer
    django: Server
    fastapi: Server

    def has_members(self, group: str) -> bool:
        """Whether Redis knows of any."""
        if self.layer == "RedisChannelLayer":
            return bool(self.redis.execute("SCARD", f"{self.prefix}:members:{group}"))
        name = f"{self.prefix}__group__{group}"
        return bool(self.redis.execute("PUBSUB", "NUMSUB", name)[1])

    def wait_until_empty(self, group: str) -> None:
        def is_empty() -> bool:
            # asgiref leaves sync consumers in cycles of references.
            self.django.request("GET", "/collect")
            return not self.has_members(group)

        wait_until(is_empty, f"nobody is in {group}")

    def receivers(self) -> int:
        """How many processes receive from general channels."""
        clients: str = self.redis.execute("CLIENT", "LIST")
        return clients.count(" cmd=xreadgroup ")

    def run_django(self, *command: str) -> "subprocess.Popen[str]":
        paths = filter(None, (str(APPS), os.environ.get("PYTHONPATH")))
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-W", NOT_OURS, "-m", "django", *command],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def environment(layer: str, prefix: str, redis: RedisServer) -> dict[str, str]:
    config = {"hosts": [redis.url], "prefix": prefix, "linger": 0.01, "capacity": 200}
    return {
        "LAYER": f"fast_channels.layers.redis.{layer}",
        "LAYER_CONFIG": json.dumps(config),
        "DJANGO_SETTINGS_MODULE": "django_project.settings",
    }


@pytest.fixture(
    scope="module",
    params=[(layer, server) for layer in LAYERS for server in ("daphne", "uvicorn-sansio")],
    ids=lambda param: "-".join(param),
)
def site(
    request: pytest.FixtureRequest,
    shared_redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    layer, server = request.param
    prefix = token_hex(4)
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        for name, value in environment(layer, prefix, shared_redis_server).items():
            patch.setenv(name, value)  # also for what run_django() starts
        servers = [
            stack.enter_context(running(kind, app, tmp_path_factory.mktemp("server"), ready=ready))
            for kind, app, ready in (
                (server, "django_project.asgi:application", "/collect"),
                ("uvicorn-sansio", "with_redis:app", "/docs"),
            )
        ]
        yield Site(layer, prefix, shared_redis_server, *servers)
        for each in servers:
            assert each.stop() in (0, -signal.SIGTERM)
            assert each.output() == ""


@pytest.fixture
def room() -> str:
    """One that nobody else is in."""
    return f"room-{token_hex(4)}"


def entered(client: ClientConnection) -> str:
    """Wait until the client is in its groups; its channel."""
    channel: str = heard(client)["channel"]
    return channel


@pytest.mark.parametrize("kind", CONSUMERS)
def test_messages_go_both_ways(site: Site, kind: str, room: str) -> None:
    with (
        open_websocket(site.django, f"/{kind}/{room}") as ada,
        open_websocket(site.fastapi, f"/room/{room}") as bob,
    ):
        adas, bobs = entered(ada), entered(bob)
        for number, (sender, receiver, channel) in enumerate([(ada, bob, bobs), (bob, ada, adas)]):
            say(sender, {"to": "group", "name": room, "text": f"all {number}"})
            assert heard(ada) == heard(bob) == {"text": f"all {number}"}
            for again in range(20):
                say(sender, {"to": "channel", "name": channel, "text": f"{again}"})
            assert [heard(receiver) for _ in range(20)] == [{"text": f"{n}"} for n in range(20)]


@pytest.mark.parametrize("kind", CONSUMERS)
def test_consumer_that_ends_is_gone_from_its_group(site: Site, kind: str, room: str) -> None:
    with open_websocket(site.django, f"/{kind}/{room}") as ada:
        entered(ada)
        with open_websocket(site.django, f"/{kind}/{room}") as bob:
            entered(bob)
        say(ada, {"to": "group", "name": room, "text": "still here"})
        assert heard(ada) == {"text": "still here"}
        assert site.has_members(room)
    site.wait_until_empty(room)


def test_connection_that_breaks_is_gone_from_its_group(site: Site, room: str) -> None:
    with RawClient(site.django, f"/async/{room}") as ada:
        ada.wait_until_accepted()
        next(ada.frames())
        assert site.has_members(room)
        ada.reset()
    site.wait_until_empty(room)


def test_consumer_is_in_the_groups_of_its_attribute(site: Site) -> None:
    with open_websocket(site.django, "/everybody") as ada:
        entered(ada)
        site.fastapi.request("POST", "/announce/everybody/hello")
        assert heard(ada) == {"text": "hello"}


@pytest.mark.parametrize("view", ["announce", "announce-async"])
def test_view_reaches_a_group(site: Site, view: str, room: str) -> None:
    with (
        open_websocket(site.django, f"/async/{room}") as ada,
        open_websocket(site.fastapi, f"/room/{room}") as bob,
    ):
        entered(ada)
        entered(bob)
        for number in range(20):
            _, body = site.django.request("GET", f"/{view}/{room}/news-{number}")
            assert body == b"sent"
            assert heard(ada) == heard(bob) == {"text": f"news-{number}"}


def test_view_reaches_a_channel(site: Site, room: str) -> None:
    with open_websocket(site.fastapi, f"/room/{room}") as bob:
        site.django.request("GET", f"/tell/{entered(bob)}/psst")
        assert heard(bob) == {"text": "psst"}


def test_view_of_fastapi_reaches_a_consumer_of_django(site: Site, room: str) -> None:
    with open_websocket(site.django, f"/sync/{room}") as ada:
        entered(ada)
        site.fastapi.request("POST", f"/announce/{room}/news")
        assert heard(ada) == {"text": "news"}


def test_project_catches_its_own_channel_full(site: Site) -> None:
    general = f"unread-{token_hex(4)}"
    answers = {site.django.request("GET", f"/tell/{general}/x")[1] for _ in range(200)}
    assert answers == {b"sent"}
    assert site.django.request("GET", f"/tell/{general}/x")[1] == b"full"


def test_management_command_reaches_clients(site: Site, room: str) -> None:
    with (
        open_websocket(site.django, f"/json/{room}") as ada,
        open_websocket(site.fastapi, f"/room/{room}") as bob,
    ):
        entered(ada)
        texts = [str(number) for number in range(50)]
        command = site.run_django("announce", room, entered(bob), *texts)
        assert command.communicate(timeout=DEADLINE)[0] == ""
        assert command.returncode == 0
        assert [heard(ada)["text"] for _ in texts] == texts
        # Each came to the group and to the channel, between which there is no order.
        assert sorted(heard(bob)["text"] for _ in range(100)) == sorted(texts * 2)


@pytest.mark.parametrize("channel", ["work", "sync-work"])
def test_worker_is_given_what_fastapi_sends(site: Site, channel: str, room: str) -> None:
    workers = [site.run_django("runworker", channel) for _ in range(2)]
    try:
        wait_until(lambda: site.receivers() == 2, "both receive")
        with open_websocket(site.fastapi, f"/room/{room}") as bob:
            reply_to = entered(bob)
            for number in range(50):
                order = {"to": "channel", "name": channel, "type": "job", "text": str(number)}
                say(bob, order)
            answers = sorted(heard(bob)["text"] for _ in range(50))
            assert answers == sorted(f"{number} is done" for number in range(50))
        wait_until(lambda: site.redis.execute("GET", f"done:{reply_to}") == "50", "all are over")
        for worker in workers:
            worker.send_signal(signal.SIGINT)
        for worker in workers:
            output, _ = worker.communicate(timeout=DEADLINE)
            assert output == ""
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
