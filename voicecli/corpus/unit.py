"""Units of work, one recording × one profile × one repeat, and what each came to.

Both are plain data that JSON can carry, so that a unit may be measured by any process on any
machine that reads the same files and runs the same version.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal

from voicecli import __version__
from voicecli.audio.channels import Channel
from voicecli.errors import BUG, IO_FAILED, choose_failure, list_leaves
from voicecli.sanitize import sanitize_line

if TYPE_CHECKING:
    from voicecli.profile import Profile

ID_LENGTH = 20
"""Hexadecimal digits of a unit's id."""

LONGEST_LINE = 1 << 26
"""Bytes of a unit or a result, as a line of JSON; that of an hour's recording takes 1 MB."""

CassetteUse = Literal["record", "record audio", "serve"]
"""What a session does with its cassette."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One recording, to be replayed with one profile for the ``repeat``-th time.

    recording, labels: paths; labels are None where there are none.
    profile: its name, for tables; ``settings`` are what counts.
    settings: every setting, as ``Profile.resolved`` returns them.
    overrides: what a sweep sets, ``KEY=VALUE`` each; the settings include it.
    channel: of the recording, the user's.
    tags: by which tables group recordings.
    user: polite waits for replies as a person does, oblivious speaks on as recorded.
    fast: whether it runs in virtual time.
    repeat: counts from 1.
    seed: of the scripted services' random latencies; the same for all settings.
    digests: of the contents of the files that count: recording, labels, script.
    version: of the program.
    cassette: the folder of its cassette; None: it has none.
    cassette_use: whether that is recorded, with the audio or without, or served.
    id: identifies what is measured: the same for the same contents, settings and program.  Names,
        paths and tags do not count.
    """

    recording: str
    profile: str
    settings: Mapping[str, Any]
    overrides: tuple[str, ...] = ()
    labels: str | None = None
    channel: Channel = "auto"
    tags: tuple[str, ...] = ()
    user: str = "polite"
    fast: bool = False
    repeat: int = 1
    seed: int = 1
    digests: Mapping[str, str] = field(default_factory=dict)
    version: str = __version__
    cassette: str | None = None
    cassette_use: CassetteUse = "serve"
    id: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", _identify(self))

    @property
    def name(self) -> str:
        """The recording's name without its folder and suffix."""
        return PurePath(self.recording).stem

    @property
    def variant(self) -> str:
        """The profile, and what a sweep changes in it."""
        return " ".join((self.profile, *self.overrides))

    def restore_profile(self) -> Profile:
        """Return the profile that the settings are; raises ProfileError."""
        from voicecli.profile import restore_profile  # pydantic: 0.1 s, which a single replay saves

        return restore_profile(self.settings, f"unit {self.id}")


def _identify(unit: Unit) -> str:
    """Return the unit's id; it costs 0.1 ms, so that it is computed once."""
    counts = {
        "settings": {key: one for key, one in unit.settings.items() if key != "description"},
        "channel": unit.channel,
        "user": unit.user,
        "fast": unit.fast,
        "repeat": unit.repeat,
        "seed": unit.seed,
        "digests": dict(unit.digests),
        "version": unit.version,
    }
    if unit.cassette is not None:  # what is served is among the digests
        counts["cassette"] = unit.cassette_use
    canonical = json.dumps(counts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:ID_LENGTH]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a unit could not be measured.

    kind: the name of the exception's class.
    exit_code: what a replay of the recording alone would exit with.
    """

    kind: str
    message: str
    exit_code: int


def describe_failure(error: BaseException) -> Failure:
    """Describe why a unit failed; ``error`` may be a group."""
    leaves = list_leaves(error)
    error = choose_failure(leaves) or leaves[0]
    code = getattr(error, "exit_code", IO_FAILED if isinstance(error, OSError) else BUG)
    if code == BUG:
        _log.debug("a unit failed", exc_info=error)
    return Failure(kind=type(error).__name__, message=sanitize_line(str(error)), exit_code=code)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitResult:
    """What one unit came to.

    result: as ``report.json_result.build_result`` returns it: turns, summary, ledger, cost; None
        if the unit failed.
    lag_ms: how late the event loop was, at worst, in milliseconds.
    attempts: how often the unit was measured; repeated when the loop was too late.
    took_s: wall time of the last attempt, in seconds.
    failure: why there is no result; None if there is one.
    """

    unit: Unit
    result: Mapping[str, Any] | None = None
    lag_ms: float = 0.0
    attempts: int = 1
    took_s: float = 0.0
    failure: Failure | None = None


# ── as JSON ──────────────────────────────────────────────────────────────────


def encode(value: Any) -> Any:
    """Return a unit or a result as plain data for JSON.

    It shares its mappings with ``value``: ``dataclasses.asdict`` copies them, which took 0.8 ms.
    """
    if is_dataclass(value):
        return {one.name: encode(getattr(value, one.name)) for one in fields(value) if one.init}
    return value


def decode(values: Any, kind: Any) -> Any:
    """Return what ``encode`` encoded; raises ValueError, whose text is a clause with the key.

    kind: Unit or UnitResult.
    """
    from pydantic import ValidationError  # 0.1 s, which only a corpus pays

    try:
        return _create_adapter(kind).validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


@cache
def _create_adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
