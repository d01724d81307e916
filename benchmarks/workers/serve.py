"""uvicorn with one application on a free port.

Says its port, then answers ``cpu`` and ``memory`` on standard input, and ends when that closes.
"""

import argparse
import gc
import importlib
import os
import socket
import threading
import time

import uvicorn

from benchmarks.workers._process import pin, resident_bytes, say


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--app", required=True)
    parser.add_argument("--core", type=int, required=True)
    options = parser.parse_args()
    pin(options.core)
    server = uvicorn.Server(
        uvicorn.Config(
            importlib.import_module(f"benchmarks.workers.{options.app}").application,
            loop="uvloop",
            http="httptools",
            # The cheapest of uvicorn's three, so the one where a library's own cost shows most.
            ws="websockets-sansio",
            ws_ping_interval=None,
            lifespan="off",
            backlog=8192,
            log_level="error",
        )
    )
    listener = socket.create_server(("127.0.0.1", 0), backlog=8192)
    threading.Thread(target=_answer, args=(server,), daemon=True).start()
    say(port=listener.getsockname()[1])
    server.run(sockets=[listener])


def _answer(server: uvicorn.Server) -> None:
    while question := os.read(0, 64).strip():
        if question == b"cpu":
            say(cpu=time.process_time())
        else:
            gc.collect()
            say(memory=resident_bytes())
    server.should_exit = server.force_exit = True


if __name__ == "__main__":
    main()
