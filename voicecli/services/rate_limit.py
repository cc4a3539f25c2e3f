"""How much may be spent within a sliding window.  Pure: told the time."""

from __future__ import annotations

from collections import deque

from voicecli.units import Seconds


class RateLimit:
    """At most ``limit`` units within any ``window`` seconds."""

    def __init__(self, limit: int, window: Seconds) -> None:
        self.limit = limit
        self._window = window
        self._spent: deque[tuple[Seconds, int]] = deque()

    def spend(self, amount: int, now: Seconds) -> None:
        """Take note that ``amount`` is spent now."""
        while self._spent and self._spent[0][0] + self._window <= now:
            self._spent.popleft()
        self._spent.append((now, amount))

    def left(self, now: Seconds) -> int:
        """How much may be spent now."""
        return self.limit - sum(spent for _, spent in self._recent(now))

    def allowed_at(self, amount: int, now: Seconds) -> Seconds:
        """When, from ``now`` on, ``amount`` (at most the limit) may be spent."""
        excess = amount - self.left(now)
        allowed = now
        for at, spent in self._recent(now):
            if excess <= 0:
                break
            excess -= spent
            allowed = at + self._window
        return allowed

    def _recent(self, now: Seconds) -> list[tuple[Seconds, int]]:
        return [(at, spent) for at, spent in self._spent if at + self._window > now]
