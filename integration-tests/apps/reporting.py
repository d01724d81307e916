"""How an application under test tells the test what it saw: lines of JSON into a named pipe.

A pipe needs no request, so it also works while a server shuts down, and every process that a
server starts finds it by its path. What the library logs goes there, too, so that whatever else
appears in the server's output is the server's complaint.
"""

import json
import logging
import os
from typing import Any

_pipe = os.open(os.environ["REPORT_TO"], os.O_WRONLY)


def report(what: str, **details: Any) -> None:
    """Tell the test; lines this short are written in one piece, whoever else writes."""
    os.write(_pipe, json.dumps({"what": what, "pid": os.getpid(), **details}).encode() + b"\n")


class _ReportLog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        report(
            "log",
            level=record.levelname,
            text=record.getMessage()[:500],
            error=None if error is None else repr(error)[:200],
        )


def report_log() -> None:
    """Report what the library logs from warnings up, instead of printing it."""
    logger = logging.getLogger("fast_channels")
    logger.addHandler(_ReportLog(logging.WARNING))
    logger.propagate = False
