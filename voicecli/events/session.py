"""What happens to the session: its connections, its sound card, its event loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from voicecli.events.entry import Event, Service
from voicecli.units import Seconds

MAX_LAG: Seconds = 0.020
"""The event loop may run this late before its time stamps are reported as unreliable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlinePassed(Event):
    """The turn machine's deadline passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOpened(Event):
    """A connection to a service opened.

    took: seconds from the first byte to the open socket.
    request_id: the service's id for the connection, or "".
    """

    service: Service
    took: Seconds
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLost(Event):
    """A connection was lost for good, which ends the session; ``reason`` is one sentence."""

    service: Service
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned(Event):
    """Something the user should know but that stops nothing."""

    service: Service | Literal["audio"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioGlitched(Event):
    """The sound card lost samples ``xruns`` times since the last such event, in or out."""

    xruns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopLagged(Event):
    """The event loop was ``lag`` seconds late; recent time stamps may be late by as much."""

    lag: Seconds
