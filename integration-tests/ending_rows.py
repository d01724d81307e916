"""The rows of the table of endings: how to bring each about, and what is to come of it."""

import signal
from collections.abc import Mapping
from typing import Final

import pytest
from clients import refusal
from ending_stage import PERHAPS, Stage, ending
from serving import COMMANDS, DEADLINE
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

GONE: Final = "gone"
"""What a client sees that has left by itself."""

LOST: Final = "1006"
"""What a client sees when the connection ends without a close frame; so RFC 6455, 7.1.5."""


def last_words(client: ClientConnection) -> str:
    """Wait for the end; the code of the server's close frame, or :data:`LOST` without one."""
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            client.recv(timeout=DEADLINE)
    return str(closed.value.rcvd.code) if closed.value.rcvd else LOST


# The client ends it.

BROKEN: Final[Mapping[str, tuple[str, str]]] = {
    "uvicorn-sansio": (GONE, "1005"),
    "uvicorn-wsproto": (GONE, "1005"),
    "uvicorn-uvloop": (GONE, "1005"),
    "granian": (GONE, "1005"),
}
"""Servers that make no difference between a close frame without a code and none."""


@ending("the client closes with 4123", GONE, "4123", but={"hypercorn": (GONE, "1006")})
def client_closes(stage: Stage) -> str:
    with stage.open() as client:
        client.close(4123, "bye")
    return GONE


@ending("the client closes without a code", GONE, "1005", but={"hypercorn": (GONE, "1006")})
def client_closes_without_a_code(stage: Stage) -> str:
    with stage.open_raw() as client:
        client.send_close()
        client.finish_close()
    return GONE


@ending("TCP reset", GONE, "1006", but=BROKEN)
def reset(stage: Stage) -> str:
    with stage.open_raw() as client:
        client.reset()
    return GONE


@ending("the client's process dies", GONE, "1006", but=BROKEN)
def client_dies(stage: Stage) -> str:
    with stage.open_raw() as client:
        client.hang_up()
    return GONE


@ending(
    "the client closes with 4123 while a handler is busy",
    GONE,
    "4123",
    but={"hypercorn": (GONE, "1006")},
)
def busy(stage: Stage) -> str:
    with stage.open_raw() as client:
        client.send("busy")
        stage.wait_for("busy")
        client.leave(4123)
        stage.wait_for("left")
        assert not stage.has_disconnected(), "the handler was not waited for"
        stage.server.control(release=stage.client_id)
        client.finish_close()
    return GONE


@ending(
    "the same, with `cancel_on_disconnect`",
    GONE,
    "4123",
    but={"hypercorn": (GONE, "1006")},
)
def busy_and_cancelled(stage: Stage) -> str:
    with stage.open_raw("impatient") as client:
        client.send("busy")
        stage.wait_for("busy")
        client.leave(4123)
        stage.wait_for("cancelled")
        client.finish_close()
    return GONE


# The application ends it.


@ending("`close(4001)`", "4001", "4001")
def closes(stage: Stage) -> str:
    with stage.open() as client:
        client.send("close")
        return last_words(client)


@ending("`close(4001)`, and the client does not answer", "4001", "4001")
def closes_and_client_is_silent(stage: Stage) -> str:
    with stage.open_raw() as client:
        client.send("close")
        stage.wait_for("disconnect")
        return client.last_words()


@ending("`close(4002)`, then `send()` and `close()` again", "4002", "4002")
def sends_after_close(stage: Stage) -> str:
    with stage.open() as client:
        client.send("close and talk on")
        return last_words(client)


@ending("`close(4403)` in `connect()`", "HTTP 403", "4403")
def refuses(stage: Stage) -> str:
    return f"HTTP {refusal(stage.server, stage.path(connect='refuse')).status_code}"


@ending("`reject(4401)` in `connect()`", "4401", "4401")
def rejects(stage: Stage) -> str:
    with stage.open(connect="close") as client:
        return last_words(client)


@ending(
    '`reject(4401, mode="denial", status=401)`',
    "HTTP 401",
    "4401",
    but={"daphne": ("HTTP 403", "4401")},
)
def denies(stage: Stage) -> str:
    response = refusal(stage.server, stage.path(connect="denial"))
    if response.status_code == 401:
        assert (response.headers["content-type"], response.body) == ("text/plain", b"who?")
    return f"HTTP {response.status_code}"


@ending('`reject(4401, mode="http")`', "HTTP 403", "4401")
def rejects_by_http(stage: Stage) -> str:
    return f"HTTP {refusal(stage.server, stage.path(connect='http')).status_code}"


# Errors of the application.

RAISED_AGAIN: Final = {"daphne": "raised again so that the server closes"}


@ending(
    "exception in `connect()`",
    "1011",
    "1011",
    logs=["LookupError('in connect')"],
    complaints=RAISED_AGAIN,
)
def raises_in_connect(stage: Stage) -> str:
    with stage.open(connect="raise") as client:
        return last_words(client)


@ending(
    "exception in `receive()`",
    "1011",
    "1011",
    logs=["LookupError('in receive')"],
    complaints=RAISED_AGAIN,
)
def raises_in_receive(stage: Stage) -> str:
    with stage.open() as client:
        client.send("raise")
        return last_words(client)


@ending(
    "exception in a handler of the layer's events",
    "1011",
    "1011",
    logs=["LookupError('in a handler')"],
    complaints=RAISED_AGAIN,
)
def raises_in_layer_handler(stage: Stage) -> str:
    with stage.open() as client:
        client.send("raise in a handler")
        return last_words(client)


# Too slow, or not wanted any more.


@ending(
    'mailbox full, with `overflow = "close"`',
    "1013",
    "1013",
    but={"daphne": ("4013", "1013")},
    warning="is full",
)
def mailbox_overflows(stage: Stage) -> str:
    with stage.open("floodable") as client:
        client.send("flood")
        return last_words(client)


@ending(
    "outbox full, because the client does not read",
    "1013",
    "1013",
    absent=["daphne"],
    warning="too slow for their outboxes",
)
def outbox_overflows(stage: Stage) -> str:
    with stage.open_raw("bounded") as client:
        client.send("swamp")
        stage.wait_for("disconnect")
        return client.last_words()


@ending(
    "a frame that is too long for `limits`",
    "1009",
    "1009",
    but={"daphne": ("4009", "1009")},
    warning="is too large",
)
def frame_is_too_long(stage: Stage) -> str:
    with stage.open("limited") as client:
        client.send("x" * 101)
        return last_words(client)


@ending("the application's task is cancelled", "4999", "1006")
def task_is_cancelled(stage: Stage) -> str:
    with stage.open("cancelled") as client:
        client.send("busy")
        stage.wait_for("busy")
        stage.server.control(cancel=stage.client_id)
        stage.wait_for("cancelled")
        return last_words(client)


# The server ends it.


@ending(
    "the server's ping is not answered",
    "1011",
    "1005",
    but={"uvicorn-websockets": ("1011", "1006"), "daphne": (LOST, "1006")},
    options={
        **dict.fromkeys(
            ("uvicorn-websockets", "uvicorn-sansio", "uvicorn-wsproto", "uvicorn-uvloop"),
            ("--ws-ping-interval", "0.1", "--ws-ping-timeout", "0.1"),
        ),
        "daphne": ("--ping-interval", "1", "--ping-timeout", "1"),
    },
)
def ping_is_not_answered(stage: Stage) -> str:
    with stage.open_raw() as client:
        return client.last_words()


@ending(
    "the client does not answer the heartbeat",
    "3008",
    "1006",
)
def heartbeat_is_not_answered(stage: Stage) -> str:
    with stage.open_raw("heartbeat") as client:
        stage.wait_for("disconnect")
        return client.last_words()


@ending(
    "`drain()`",
    "1012",
    "1012",
    but={"daphne": ("4012", "1012")},
    options=dict.fromkeys(COMMANDS, ()),
)
def drains(stage: Stage) -> str:
    with stage.open() as client:
        stage.server.control(drain=stage.client_id)
        return last_words(client)


@ending(
    "SIGTERM of the server",
    "1012",
    "1012",
    but={
        "hypercorn": ("1011", "1006"),
        "daphne": (LOST, "1006"),
        "granian": (LOST, PERHAPS),
    },
    options={
        **dict.fromkeys(COMMANDS, ()),
        # It does not tell an application that is younger than a second. Its ping says when.
        "daphne": ("--ping-interval", "2"),
    },
    chatter=["hypercorn"],
)
def server_is_terminated(stage: Stage) -> str:
    with stage.open() as client, stage.of("silent").open_raw() as silent:
        if stage.name == "daphne":
            silent.wait_for_ping()
        assert stage.server.stop() in (0, -signal.SIGTERM)
        return last_words(client)
