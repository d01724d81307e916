"""The files of examples/deploy do what docs/how-to/deploy.md says."""

import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from clients import closed_with, heard, open_websocket, say
from layer_faults import on_one_server
from markdown_blocks import blocks
from redis_servers import RedisServer
from serving import DEADLINE, Server, free_port, running
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection

ROOT: Final = Path(__file__).parent.parent
DEPLOY: Final = ROOT / "examples" / "deploy"
UNIT: Final = DEPLOY / "tutorial.service"
TUTORIAL: Final = ROOT / "examples" / "tutorial"
PAGE: Final = ROOT / "docs" / "how-to" / "deploy.md"
DRAIN_ENDS_AFTER: Final = 2
"""Seconds that a drain may take beyond its timeout."""


def without_breaks(file: Path) -> str:
    return file.read_text().replace("\\\n", " ")


def command_of_unit() -> list[str]:
    found = re.search(r"^ExecStart=(.+)$", without_breaks(UNIT), re.MULTILINE)
    assert found is not None
    return found[1].split()


def kubernetes() -> dict[str, Any]:
    objects = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    return {f"{each['kind']} {each['metadata']['name']}": each for each in objects}


# What the page says.


@pytest.mark.parametrize(
    ("language", "block"),
    [
        (language, block)
        for language in ("ini", "nginx", "dockerfile", "yaml")
        for block in blocks(PAGE, language)
    ],
)
def test_blocks_of_the_page_are_from_the_files(language: str, block: str) -> None:
    assert any(block in path.read_text() for path in DEPLOY.iterdir())


def test_whole_files_are_shown() -> None:
    shown = blocks(PAGE, r"\w*")
    names = ("tutorial.service", "tutorial.socket", "nginx.conf", "Caddyfile", "Dockerfile")
    for name in names:
        assert (DEPLOY / name).read_text() in shown, name


# What the files say.


def seconds_until_the_end(command: list[str]) -> float:
    """What a drain of the application, and then uvicorn, take at most."""
    found = re.search(r"draining\(timeout=(\d+)", (TUTORIAL / "main.py").read_text())
    assert found is not None
    graceful = command[command.index("--timeout-graceful-shutdown") + 1]
    return int(found[1]) + DRAIN_ENDS_AFTER + int(graceful)


def test_nobody_is_killed_before_the_end() -> None:
    timeout = re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert timeout is not None
    assert seconds_until_the_end(command_of_unit()) < int(timeout[1])

    pod = kubernetes()["Deployment web"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    program, before = container["lifecycle"]["preStop"]["exec"]["command"]
    assert program == "sleep"
    needed = int(before) + seconds_until_the_end(container["args"])
    assert needed < pod["terminationGracePeriodSeconds"]

    web = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["web"]
    assert "command" not in web  # so that it is the image's
    assert seconds_until_the_end(command_of_image()) < int(web["stop_grace_period"].rstrip("s"))


def command_of_image() -> list[str]:
    last = without_breaks(DEPLOY / "Dockerfile").strip().splitlines()[-1]
    command: list[str] = json.loads(last.removeprefix("CMD "))
    return command


def test_objects_of_kubernetes_fit_together() -> None:
    objects = kubernetes()
    for name, deployment in objects.items():
        if not name.startswith("Deployment"):
            continue
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"] == labels
    web = objects["Deployment web"]["spec"]
    assert objects["Service web"]["spec"]["selector"] == web["selector"]["matchLabels"]
    assert objects["PodDisruptionBudget web"]["spec"]["selector"] == web["selector"]
    container = web["template"]["spec"]["containers"][0]
    port = container["ports"][0]["containerPort"]
    assert objects["Service web"]["spec"]["ports"][0]["targetPort"] == port
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": port}
    assert container["args"][:2] == command_of_image()[:2]
    scaled = objects["HorizontalPodAutoscaler web"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == "web"
    assert "replicas" not in web


# What the files do.


def installed(program: str) -> str:
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"no {program} found (Debian: apt-get install {program})")
    return path


def test_units_are_what_systemd_takes(tmp_path: Path) -> None:
    program = installed("systemd-analyze")
    uvicorn = command_of_unit()[0]
    for name in ("tutorial.service", "tutorial.socket"):
        text = (DEPLOY / name).read_text()
        # It looks whether the program and the folder are there.
        text = text.replace(uvicorn, sys.executable).replace("/srv/tutorial", str(TUTORIAL))
        (tmp_path / name).write_text(text)
    verified = subprocess.run(
        [program, "verify", "--man=no", *(str(path) for path in tmp_path.iterdir())],
        capture_output=True,
        text=True,
        timeout=3 * DEADLINE,
    )
    # It may complain of other units of the machine.
    assert [line for line in verified.stderr.splitlines() if "tutorial" in line] == []
    assert verified.returncode == 0, verified.stderr


def clients_of_two_workers(
    server: Server, stack: ExitStack, gone: Collection[int] = ()
) -> dict[int, ClientConnection]:
    """Connect until there is a client of each of two workers, which are none of those."""
    clients: dict[int, ClientConnection] = {}
    give_up_at = time.monotonic() + 3 * DEADLINE
    while len(clients) < 2:
        assert time.monotonic() < give_up_at, server.output()
        # One that has drained refuses what it still gets, and then closes the socket.
        with suppress(InvalidHandshake, ConnectionClosed, OSError):
            client = stack.enter_context(open_websocket(server, "/ws/system"))
            pid = heard(client)["process"]
            assert pid not in gone
            clients[pid] = client
    return clients


@pytest.fixture
def service(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    """The command of the unit, with the socket of the other one."""
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # of at_fd_3
    program, *arguments = command_of_unit()
    port = free_port()
    # A worker that is slow to start is taken to be broken.
    patience = ["--timeout-worker-healthcheck", "60"]
    command = ["at_fd_3", str(port), Path(program).name, *arguments, *patience]
    with Server(command, port, tmp_path, apps=TUTORIAL, ready="/ready") as server:
        yield server


@on_one_server
@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="systemd is Linux'")
def test_service_is_reloaded_and_stopped_without_a_harsh_word(service: Server) -> None:
    with ExitStack() as stack:
        before = clients_of_two_workers(service, stack)
        ends = [os.pidfd_open(pid) for pid in before]
        for end in ends:
            stack.callback(os.close, end)
        service.process.send_signal(signal.SIGHUP)
        for client in before.values():
            closed = closed_with(client, timeout=3 * DEADLINE)  # another worker is started first
            assert (closed.code, [*json.loads(closed.reason)]) == (1012, ["retry_after"])
        # One that is ending answers who still comes to it with 500.
        for end in ends:
            assert select.select([end], [], [], 3 * DEADLINE)[0], service.output()
        after = clients_of_two_workers(service, stack, gone=before)
        for client in after.values():
            say(client, {"type": "echo", "text": "hello"})
            assert heard(client)["text"] == "hello"
        assert service.stop() == 0
        for client in after.values():
            assert closed_with(client).code == 1012
    assert not re.search("error|traceback", service.output(), re.IGNORECASE)


@on_one_server
def test_worker_finds_redis(redis_server: RedisServer) -> None:
    pod = kubernetes()["Deployment worker"]["spec"]["template"]["spec"]
    program, *arguments = pod["containers"][0]["args"]
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert services["worker"]["command"].split() == [program, *arguments]
    names = {"REDIS_URL", "RQ_REDIS_URL"}
    assert names < services["worker"]["environment"].keys()
    worked = subprocess.run(
        [sys.executable, "-m", f"{program}.cli", *arguments, "--burst"],
        cwd=TUTORIAL,
        env={**os.environ, **dict.fromkeys(names, redis_server.url)},
        capture_output=True,
        text=True,
        timeout=3 * DEADLINE,
    )
    assert worked.returncode == 0, worked.stderr
    assert "Listening on tutorial" in worked.stdout + worked.stderr


# What Debian's nginx.conf has around the file.
NGINX: Final = """
daemon off;
pid nginx.pid;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include nginx.conf;
}
"""


def nginx(program: str, folder: Path) -> list[str]:
    (folder / "main.conf").write_text(NGINX)
    return [program, "-p", str(folder), "-e", "stderr", "-c", str(folder / "main.conf")]


def caddy(program: str, folder: Path) -> list[str]:
    file = folder / "Caddyfile"
    file.write_text("{\n\tadmin off\n}\n" + file.read_text())  # its port is always the same
    return [program, "run", "--config", str(file)]


@pytest.fixture(params=[(nginx, "nginx.conf"), (caddy, "Caddyfile")], ids=["nginx", "caddy"])
def proxied(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    """A server that clients talk to by way of the proxy."""
    command, name = request.param
    program = installed(command.__name__)
    with running("uvicorn-sansio", "behind_proxy:application", tmp_path, ready="/ready") as server:
        port = free_port()
        text = (DEPLOY / name).read_text()
        for ours, here in (
            ("127.0.0.1:8000", f"127.0.0.1:{server.port}"),
            ("listen 80;", f"listen 127.0.0.1:{port};"),
            ("chat.example.com {", f"http://127.0.0.1:{port} {{"),
        ):
            text = text.replace(ours, here)
        folder = tmp_path / "proxy"
        folder.mkdir()
        (folder / name).write_text(text)
        with subprocess.Popen(
            command(program, folder), cwd=folder, env={**os.environ, "HOME": str(folder)}
        ) as proxy:
            try:
                wait_for(port, proxy)
                monkeypatch.setattr(server, "port", port)
                yield server
            finally:
                proxy.terminate()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + DEADLINE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=DEADLINE).close()
        except ConnectionError:
            assert process.poll() is None, "the proxy did not start"
            assert time.monotonic() < give_up_at
            time.sleep(0.02)  # there is no event that both give
        else:
            return


def test_proxy_passes_everything_on(proxied: Server) -> None:
    here = f"http://127.0.0.1:{proxied.port}"
    # A client that says who it is, is not believed.
    headers = {"Origin": here, "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    with open_websocket(proxied, "/ws/echo", headers=headers) as client:
        assert heard(client) == {"address": "127.0.0.1", "scheme": "ws"}
        say(client, "hello")
        assert heard(client) == "hello"
    with pytest.raises(InvalidStatus) as refused:
        open_websocket(proxied, "/ws/echo", headers={"Origin": "https://shop.example"})
    assert refused.value.response.status_code == 403


def test_proxy_holds_no_events_back(proxied: Server) -> None:
    http = proxied.open_http()
    http.request("GET", "/stream")
    response = http.getresponse()
    assert response.headers["content-type"] == "text/event-stream"
    assert response.readline() == b"data: first\n"
    with open_websocket(proxied, "/ws/next"):
        assert response.readline() == b"\n"
        assert response.readline() == b"data: second\n"
    http.close()
