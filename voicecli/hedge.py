"""How long a request may go without a token before a second one is sent beside it.  Pure."""

from __future__ import annotations

from collections import deque

import numpy as np

from voicecli.audio import Seconds

LEAST: Seconds = 0.6
MOST: Seconds = 1.2
"""Bounds of the delay: earlier, a hedge races requests that are merely usual; later, it comes too
late to keep the user's wait under 2 s."""

REMEMBERED = 50
ENOUGH = 5
"""So many waits tell something of the usual one; before, the delay is the least."""


class HedgeDelay:
    """The delay: fixed, none, or the rolling 90th percentile of the waits so far, within bounds.

    fixed: seconds; None never hedges, "auto" follows what it is told.
    """

    def __init__(self, fixed: Seconds | str | None = "auto") -> None:
        self._fixed = fixed
        self._waits: deque[Seconds] = deque(maxlen=REMEMBERED)

    def note(self, wait: Seconds) -> None:
        """A first token came after so long, counted from its own request."""
        self._waits.append(wait)

    @property
    def delay(self) -> Seconds | None:
        """Seconds from the request; None for never."""
        if not isinstance(self._fixed, str):
            return self._fixed
        if len(self._waits) < ENOUGH:
            return LEAST
        return min(max(float(np.percentile(self._waits, 90)), LEAST), MOST)
