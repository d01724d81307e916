"""Background jobs: plain functions without an event loop, which report to a group as they go on."""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from analytics import record
from fast_channels.exceptions import TooManyGroups
from fast_channels.layers import get_sync_channel_layer, group_name
from fast_channels.types import Event
from layers import setup_layers
from page import LIMITS, PageConsumer
from rooms import BadInput, message_text
from runners import Frame, JobRefused, runner

MAX_FOLLOWED = 20


def report(job_id: str, text: str) -> str:
    """Count the words of a text, slowly."""
    words = text.split()
    for done in range(1, 11):
        time.sleep(0.2)
        tell(job_id, "progress", done=done, of=10)
    amount = "1 word" if len(words) == 1 else f"{len(words)} words"
    return f"{amount}, longest '{max(words, key=len)}'"


def fail(job_id: str, text: str) -> str:
    """Fail after two steps."""
    for done in (1, 2):
        time.sleep(0.2)
        tell(job_id, "progress", done=done, of=10)
    raise RuntimeError("This job always fails after two steps.")


JOBS: dict[str, Callable[[str, str], str]] = {"report": report, "fail": fail}


def run(job_id: str, job: str, text: str) -> None:
    """What workers call."""
    setup_layers()  # a worker of RQ is a process that has none yet
    try:
        result = JOBS[job](job_id, text)
    except Exception as error:
        tell(job_id, "failed", error=str(error))
    else:
        tell(job_id, "finished", result=result)


def tell(job_id: str, what: str, **details: Any) -> None:
    frame = {"type": what, "id": job_id, **details}
    runner().keep(job_id, frame)
    news = {"type": "job.news", "frame": frame}
    get_sync_channel_layer("jobs").group_send(group_name("job", job_id), news)


class Jobs(PageConsumer):
    """``/ws/jobs``: starts jobs, and passes on what they report."""

    channel_layer_alias = "jobs"
    limits = replace(LIMITS, groups=MAX_FOLLOWED)

    async def receive_json(self, content: Any, /) -> None:
        try:
            match content:
                case {"type": "start", "job": str(job), "text": str(text), "ref": str(ref)} if (
                    job in JOBS and 1 <= len(ref) <= 64
                ):
                    await self.start(job, message_text(text), ref)
                case {"type": "follow", "id": str(job_id)} if 1 <= len(job_id) <= 64:
                    await self.follow(job_id)
                case _:
                    names = " or ".join(JOBS)
                    raise BadInput(f"Expected start with job ({names}), text and ref, or follow.")
        except (BadInput, JobRefused) as error:
            await self.complain(str(error))
        except TooManyGroups:
            await self.complain(f"You follow {MAX_FOLLOWED} jobs already.")

    async def start(self, job: str, text: str, ref: str) -> None:
        job_id = secrets.token_hex(16)
        started = {"type": "started", "id": job_id, "job": job, "ref": ref}
        group = group_name("job", job_id)
        await self.channel_layer.group_add(group, self.channel_name)
        # What the job reports waits until this handler is done, so "started" comes first.
        try:
            await asyncio.to_thread(runner().keep, job_id, started)
            await asyncio.to_thread(runner().start, job_id, run, job, text)
        except Exception:
            await self.channel_layer.group_discard(group, self.channel_name)
            raise
        await self.send_json(started)
        await record("jobs")

    async def follow(self, job_id: str) -> None:
        # First the group, then the past: so nothing is missed in between.
        await self.channel_layer.group_add(group_name("job", job_id), self.channel_name)
        last = await asyncio.to_thread(runner().last, job_id)
        await self.pass_on(last or {"type": "unknown", "id": job_id})

    async def job_news(self, event: Event) -> None:
        await self.pass_on(event["frame"])

    async def pass_on(self, frame: Frame) -> None:
        await self.send_json(frame)
        if frame["type"] in ("finished", "failed", "unknown"):
            group = group_name("job", frame["id"])
            await self.channel_layer.group_discard(group, self.channel_name)
