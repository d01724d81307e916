"""The way of messages to one channel, on which they get lost, late, doubled and out of order."""

import asyncio
from collections import deque
from collections.abc import Callable

from fast_channels.layers.wrapper import Envelope, Outlet
from fast_channels.statistics import statistics
from fast_channels_testing._fault_plan import Fault, FaultKind, FaultPlan, Verdict
from fast_channels_testing._running_loop import running_loop


class Way:
    """The :class:`Tap` of one channel.

    Senders of any thread put messages on it; its timer, in the loop of the channel, delivers
    those that are late. All of it under the lock of the plan, and nothing outlives the channel.
    """

    def __init__(
        self,
        plan: FaultPlan,
        outlet: Outlet,
        label: str,
        *,
        patience: float,
        always: Callable[[str], FaultKind | None],
        is_stalled: Callable[[str], bool],
        on_close: Callable[["Way"], None],
    ) -> None:
        """``always``: what happens for now to every message for a channel; ``is_stalled``: whether
        for now nothing gets through to it."""
        self._plan = plan
        self._always = always
        self._is_stalled = is_stalled
        self._outlet = outlet
        self.label = label
        self._patience = patience
        self._on_close = on_close
        self._late: deque[tuple[float, Envelope]] = deque()
        """With the time of the loop at which each is due, in the order of delivery: a message
        that would be due before the one in front of it waits for that one."""
        self._held: tuple[float, Envelope] | None = None
        """Waits for the next message to overtake it, until then."""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def name(self) -> str:
        return self._outlet.name

    def arrived(self, envelope: Envelope) -> bool:
        with self._plan.lock:
            always = self._always(self.name)
            verdict = self._plan.delivery(self.label, self.name, envelope.open, always)
            match verdict.kind:
                case "drop" | "disconnect":
                    return True
                case "full":
                    return self._outlet.overflow(envelope)
                case _:
                    return self._pass(envelope, verdict)

    def _pass(self, envelope: Envelope, verdict: Verdict) -> bool:
        now = self._outlet.loop.time()
        if verdict.kind == "reorder" and self._held is None:
            self._held = (now + self._patience, envelope)
            self._wake()
            return True
        followers: list[Envelope] = []
        if verdict.kind == "duplicate":
            followers.append(envelope)
        if self._held is not None:
            followers.append(self._held[1])
            self._held = None
        if verdict.delay or self._late or self._is_stalled(self.name):
            due = now + verdict.delay
            self._late.extend((due, late) for late in (envelope, *followers))
            self._wake()
            return True
        accepted = self._outlet.put(envelope)
        for follower in followers:
            self._put_late(follower)
        return accepted

    def lose(self) -> None:
        """What is on the way is lost, as when a connection breaks."""
        lost = [envelope for _, envelope in self._late]
        if self._held is not None:
            lost.append(self._held[1])
        for envelope in lost:
            self._plan.record(
                Fault("disconnect", "delivery", self.label, envelope.open(), name=self.name)
            )
        self._clear()

    def reconnected(self) -> None:
        """Tell a consumer that it may have missed something."""
        self._in_loop(self._outlet.gap)

    def resume(self) -> None:
        """What was stalled may be delivered now."""
        if self._late:
            self._wake()

    def cleared(self) -> None:
        with self._plan.lock:
            self._clear()

    def closed(self) -> None:
        with self._plan.lock:
            self._clear()
            self._on_close(self)

    def _clear(self) -> None:
        self._late.clear()
        self._held = None
        if self._timer is not None:
            self._wake()

    def _wake(self) -> None:
        """Have the loop of the channel see what is due."""
        if running_loop() is self._outlet.loop:
            self._look()
        else:
            self._in_loop(self._look_later)

    def _in_loop(self, function: Callable[[], None]) -> None:
        if running_loop() is self._outlet.loop:
            function()
            return
        try:
            self._outlet.loop.call_soon_threadsafe(function)
        except RuntimeError:
            pass  # That loop has ended, and its receivers with it.

    def _look_later(self) -> None:
        with self._plan.lock:
            self._look()

    def _look(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._outlet.loop.time()
        if self._held is not None and self._held[0] <= now:
            # Nothing came to overtake it.
            self._late.append((now, self._held[1]))
            self._held = None
        stalled = self._is_stalled(self.name)
        while self._late and self._late[0][0] <= now and not stalled:
            self._put_late(self._late.popleft()[1])
        times = [self._late[0][0]] if self._late and not stalled else []
        if self._held is not None:
            times.append(self._held[0])
        if times:
            self._timer = self._outlet.loop.call_at(min(times), self._look_later)

    def _put_late(self, envelope: Envelope) -> None:
        """Deliver a message whose sender is not there to be told."""
        if not self._outlet.put(envelope):
            statistics.count("event.full", f"{self.name!r} is full and missed a late message")
