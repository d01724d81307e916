"""A token bucket in one number: the generic cell rate algorithm (ITU-T I.371)."""


class TokenBucket:
    """Holds up to ``burst`` tokens and gets ``rate`` new ones a second; it begins full.

    Who asks says the time, in seconds of any clock that does not go back.
    """

    __slots__ = ("_full_at", "_interval", "_tolerance")

    def __init__(self, rate: float, burst: int) -> None:
        self._interval = 1 / rate
        self._tolerance = (burst - 1) * self._interval
        self._full_at = float("-inf")

    def take(self, now: float) -> bool:
        """Take a token, if there is one."""
        full_at = max(self._full_at, now)
        if full_at - now > self._tolerance:
            return False
        self._full_at = full_at + self._interval
        return True

    def reserve(self, now: float) -> float:
        """Take a token that may be yet to come; the seconds until it does, 0 if it is there."""
        full_at = max(self._full_at, now)
        self._full_at = full_at + self._interval
        return max(full_at - now - self._tolerance, 0.0)
