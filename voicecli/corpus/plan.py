"""Plans a run: which units there are, and what identifies each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voicecli.audio.channels import Channel
from voicecli.corpus.label_file import load_labels
from voicecli.corpus.manifest import Recording
from voicecli.corpus.unit import Unit
from voicecli.errors import InputError, UsageError
from voicecli.profile import Profile, load_profile, load_script

if TYPE_CHECKING:
    from voicecli.corpus.cassettes import CassetteFolder
    from voicecli.standin.script import Script

DIGEST_LENGTH = 20
"""Hexadecimal digits of a file's digest."""

CHUNK = 1 << 20
"""Bytes of a file that are read at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A profile, and what a sweep changes in it.

    overrides: ``KEY=VALUE`` each.
    """

    name: str
    profile: Profile
    overrides: tuple[str, ...] = ()


def load_variants(
    names: Sequence[str], sets: Sequence[str], swept: Sequence[tuple[str, ...]] = ((),)
) -> list[Variant]:
    """Load each profile with the settings ``sets``, once for each of the overrides ``swept``."""
    return [
        Variant(
            name=name,
            profile=load_profile(name, overrides=sets, swept=overrides),
            overrides=overrides,
        )
        for name in dict.fromkeys(names)
        for overrides in swept
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What is the same for all units of a run.

    channel: "auto": as the manifest or the labels say.
    repeats: how often each recording is replayed with each profile.
    cassettes: what the units record, or are served; None: no cassettes.
    """

    channel: Channel = "auto"
    user: str = "polite"
    fast: bool = False
    repeats: int = 1
    cassettes: CassetteFolder | None = None


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of a run that a machine of its own measures: ``number`` of ``count``, from 1."""

    number: int = 1
    count: int = 1

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def parse_shard(text: str) -> Shard:
    """Return the shard called ``I/N``; raises UsageError."""
    number, _, count = text.partition("/")
    if number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count):
        return Shard(int(number), int(count))
    raise UsageError(
        f"--shard {text!r}: not a part of a whole", hint="Write I/N, from 1/N to N/N: 3/8."
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """The units of a run, or of one shard of it.

    positions: of each unit among those of the whole run.
    duplicates: recordings left out, with the one that each equals.
    """

    units: tuple[Unit, ...]
    positions: tuple[int, ...]
    duplicates: tuple[tuple[Path, Path], ...] = ()
    shard: Shard = Shard()


def plan_units(
    recordings: Iterable[Recording],
    variants: Sequence[Variant],
    conditions: Conditions,
    shard: Shard = Shard(),
) -> Plan:
    """Plan the units: all variants of a recording side by side, repeat after repeat.

    shard: has each ``count``-th of the repeats of all recordings, with all variants, so that what
        is compared was measured by the same machine.  Other recordings are not read.

    Raises InputError where a file cannot be read or labels are wrong; ProfileError where a script
    is.
    """
    planner = _Planner(variants, conditions, shard)
    for recording in recordings:
        planner.add(recording)
    return planner.finish()


class _Planner:
    def __init__(self, variants: Sequence[Variant], conditions: Conditions, shard: Shard) -> None:
        self._variants = [
            (one, _Script.of(one.profile), one.profile.resolved()) for one in variants
        ]
        self._conditions = conditions
        self._shard = shard
        self._units: dict[str, Unit] = {}
        self._positions: dict[str, int] = {}
        self._duplicates: dict[Path, Path] = {}
        self._numbers: dict[Path, int] = {}
        self._digests: dict[Path, str] = {}
        self._position = 0

    def add(self, recording: Recording) -> None:
        """Plan the units of ``recording``."""
        number = self._numbers.setdefault(recording.path, len(self._numbers))
        chosen = [one for one in self._variants if recording.profile in (None, one[0].name)]
        base = None
        repeats = self._conditions.repeats
        for repeat in range(1, repeats + 1):
            begin = self._position
            self._position += len(chosen)
            if (number * repeats + repeat - 1) % self._shard.count != self._shard.number - 1:
                continue
            base = base or self._describe(recording)
            for position, (variant, script, resolved) in enumerate(chosen, begin):
                one = replace(
                    base,
                    profile=variant.name,
                    overrides=variant.overrides,
                    settings=resolved,
                    repeat=repeat,
                    seed=_derive_seed(script.seed, base.digests["recording"], repeat),
                    digests={**base.digests, **script.digests},
                )
                if self._conditions.cassettes is not None:
                    one = self._conditions.cassettes.assign(one)
                first = self._units.setdefault(one.id, one)
                self._positions.setdefault(one.id, position)
                if first is not one:
                    self._duplicates[recording.path] = Path(first.recording)

    def finish(self) -> Plan:
        """Return the plan."""
        return Plan(
            units=tuple(self._units.values()),
            positions=tuple(self._positions.values()),
            duplicates=tuple(self._duplicates.items()),
            shard=self._shard,
        )

    def _describe(self, recording: Recording) -> Unit:
        """Return what all units of ``recording`` have in common."""
        files = {"recording": recording.path, "labels": recording.labels}
        digests = {name: self._digest(file) for name, file in files.items() if file is not None}
        return Unit(
            recording=str(recording.path),
            profile="",
            settings={},
            labels=None if recording.labels is None else str(recording.labels),
            channel=_choose_channel(recording, self._conditions.channel),
            tags=recording.tags,
            user=self._conditions.user,
            fast=self._conditions.fast,
            digests=digests,
        )

    def _digest(self, file: Path) -> str:
        """Return the digest of a file, which is read once for all profiles."""
        if file not in self._digests:
            self._digests[file] = digest_file(file)
        return self._digests[file]


def digest_file(path: Path) -> str:
    """Return the digest of a file's content; raises InputError."""
    digest = hashlib.sha256()
    try:
        if not path.is_file():
            what = "is not a file" if path.exists() else "does not exist"
            raise InputError(f"{path} {what}", hint="Name recordings, folders or manifests.")
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    return digest.hexdigest()[:DIGEST_LENGTH]


def _choose_channel(recording: Recording, wanted: Channel) -> Channel:
    """The first of these that says one: the command line, the manifest, the labels."""
    labelled = None if recording.labels is None else load_labels(recording.labels).channel
    found = (one for one in (wanted, recording.channel) if one != "auto")
    return next(found, "auto" if labelled is None else labelled)


@dataclass(frozen=True, slots=True)
class _Script:
    """What counts of a profile's stand-in script."""

    seed: int
    digests: dict[str, str]

    @classmethod
    def of(cls, profile: Profile) -> _Script:
        if profile.standin is None or profile.standin.engine != "scripted":
            return cls(1, {})
        script: Script = load_script(profile.standin.script or "")
        content = hashlib.sha256(repr(script).encode()).hexdigest()[:DIGEST_LENGTH]
        return cls(script.seed, {"script": content})


def _derive_seed(*parts: Any) -> int:
    """Derive a seed that differs for each recording and repeat, and not for each variant.

    With the same latencies drawn for all variants, their differences are due to the settings.
    """
    text = ":".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6])
