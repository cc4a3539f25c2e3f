"""What the probers hand over: one reading each, or what went wrong instead.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from voicecli.errors import VoiceError
from voicecli.events import Service
from voicecli.units import Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One use of one service, measured.

    values: by metric (``names.OF_SERVICES``); durations in seconds.  What did not happen is not in.
    counts: what adds up over readings, as ``spent`` and ``names.COUNTS`` have it.
    cold: the first use of a new connection, which pays for being first.
    text: what the STT understood.
    request_id: the service's id of the connection or request, "" where it gives none.
    """

    service: Service
    at: Seconds
    values: Mapping[str, float]
    counts: Mapping[str, float] = field(default_factory=dict)
    cold: bool = False
    text: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedSample:
    """A reading that failed.

    counts: as in Reading; a request that failed may have been repeated before.
    """

    service: Service
    at: Seconds
    error: VoiceError
    counts: Mapping[str, float] = field(default_factory=dict)
    cold: bool = False
