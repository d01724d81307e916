"""The demo's command line: options, the address, a taken port, a quiet end.

An application of your own does not need this file: ``uvicorn main:app`` serves it as well.
"""

import argparse
import errno
import os
import shlex
import signal
import socket
import sys
from http.client import HTTPConnection, HTTPException
from importlib.util import find_spec
from threading import Thread

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from companions import FOLDER, Companions


def port_number(value: str) -> int:
    if not value.isascii() or not value.isdigit() or int(value) > 65535:
        raise argparse.ArgumentTypeError(f"{value!r} is not a number from 0 to 65535")
    return int(value)


def worker_count(value: str) -> int:
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= 64:
        raise argparse.ArgumentTypeError(f"{value!r} is not a number from 1 to 64")
    return int(value)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Serve the tutorial's application.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--port", default=8080, type=port_number, help="port to listen on (%(default)s)"
    )
    parser.add_argument(
        "--redis",
        action="store_true",
        help="use Redis: that of REDIS_URL if it is set, else one that ends with the demo",
    )
    parser.add_argument(
        "--workers", default=1, type=worker_count, help="processes that serve (%(default)s)"
    )
    options = parser.parse_args()
    options.redis = options.redis or bool(os.environ.get("REDIS_URL"))
    if options.workers > 1 and not options.redis:
        parser.error("several workers reach each other only through Redis: add --redis")
    if options.redis and not (find_spec("fast_channels_redis") and find_spec("rq")):
        parser.error(
            "Redis needs more packages: pip install fast-channels-redis -r requirements-redis.txt"
        )
    return options


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, or the end of the program with a sentence about what is in the way."""
    other_port = "Choose another port with --port, for example --port 8081, or --port 0 for any."
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, socket.EAI_NONAME):
            problem = f"{host} is not an address of this machine; --host takes one that is."
        elif error.errno == errno.EADDRINUSE:
            problem = f"Port {port} on {host} is taken by another program. {other_port}"
        elif error.errno == errno.EACCES:
            problem = f"Port {port} is not for ordinary users. {other_port}"
        else:
            problem = f"Cannot listen on {host}, port {port}: {error}"
        raise SystemExit(problem) from None


def start_companions(companions: Companions) -> str:
    """Start what the demo needs with Redis, and return how to send from outside."""
    sender = shlex.join([sys.executable, str(FOLDER / "send.py"), "Good morning"])
    url = os.environ.get("REDIS_URL")
    if not url:
        url = os.environ["REDIS_URL"] = companions.start_redis()
        sender = f"REDIS_URL={shlex.quote(url)} {sender}"
    companions.start_worker(url)
    companions.start_counter()
    return f"From another terminal, this notifies all pages:\n  {sender}"


def announce(host: str, port: int, hint: str | None) -> None:
    """Print the address once a request is answered, and not before."""
    try:
        http = HTTPConnection(host, port)
        http.request("GET", "/ready")
        http.getresponse().read()
        http.close()
    except (OSError, HTTPException):
        return  # it ended instead
    shown = f"[{host}]" if ":" in host else host
    print(f"Live at http://{shown}:{port} (Ctrl+C ends it)", flush=True)
    if hint:
        print(hint, flush=True)


def main() -> int:
    """Serve until Ctrl+C; the exit code."""
    options = parse_options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    listener = listen(options.host, options.port)
    host, port = listener.getsockname()[:2]
    config = uvicorn.Config(
        "main:app",
        workers=options.workers,
        log_level="warning",
        ws_max_size=64 * 1024,
        # Open sockets are closed at once; this bounds the wait for a handler that is stuck.
        timeout_graceful_shutdown=5,
    )
    with Companions() as companions, listener:
        try:
            hint = start_companions(companions) if options.redis else None
            Thread(target=announce, args=(host, port, hint), daemon=True).start()
            if options.workers > 1:
                supervisor = Multiprocess(config, [listener])
                supervisor.run()
                if any(worker.exitcode == STARTUP_FAILURE for worker in supervisor.processes):
                    return STARTUP_FAILURE  # a worker has said why
            else:
                uvicorn.Server(config).run(sockets=[listener])
        except KeyboardInterrupt:
            pass  # the server passes Ctrl+C on when it has ended properly
    print("Stopped.")
    return 1 if companions.lost_one else 0


if __name__ == "__main__":
    sys.exit(main())
