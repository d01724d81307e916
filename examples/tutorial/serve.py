"""The demo's command line: options, the address, a taken port, a quiet end.

An application of your own does not need this file: ``uvicorn main:app`` serves it as well.
"""

import argparse
import errno
import socket
import sys

import uvicorn


class Server(uvicorn.Server):
    """Prints the address once connections are accepted, and not before."""

    def __init__(self, config: uvicorn.Config, address: str) -> None:
        super().__init__(config)
        self.address = address

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            print(f"Live at {self.address} (Ctrl+C ends it)", flush=True)


def port_number(value: str) -> int:
    if not value.isascii() or not value.isdigit() or int(value) > 65535:
        raise argparse.ArgumentTypeError(f"{value!r} is not a number from 0 to 65535")
    return int(value)


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


def main() -> int:
    """Serve until Ctrl+C; the exit code."""
    parser = argparse.ArgumentParser(description="Serve the tutorial's application.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--port", default=8080, type=port_number, help="port to listen on (%(default)s)"
    )
    options = parser.parse_args()

    listener = listen(options.host, options.port)
    host, port = listener.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    config = uvicorn.Config(
        "main:app",
        log_level="warning",
        ws_max_size=64 * 1024,
        # Open sockets are closed at once; this bounds the wait for a handler that is stuck.
        timeout_graceful_shutdown=5,
    )
    try:
        Server(config, address).run(sockets=[listener])
    except KeyboardInterrupt:
        pass  # the server passes Ctrl+C on when it has ended properly
    print("Stopped.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
