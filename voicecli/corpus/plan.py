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
from voicecli.errors import InputError
from voicecli.profile import Profile, load_profile, load_script

if TYPE_CHECKING:
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
    """

    channel: Channel = "auto"
    user: str = "polite"
    fast: bool = False
    repeats: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """The units of a run; duplicates: recordings left out, with the one that each equals."""

    units: tuple[Unit, ...]
    duplicates: tuple[tuple[Path, Path], ...] = ()


def plan_units(
    recordings: Iterable[Recording], variants: Sequence[Variant], conditions: Conditions
) -> Plan:
    """Plan the units: all variants of a recording side by side, repeat after repeat.

    Raises InputError where a file cannot be read or labels are wrong; ProfileError where a script
    is.
    """
    scripts = [_Script.of(one.profile) for one in variants]
    settings = [one.profile.resolved() for one in variants]
    planned: dict[str, Unit] = {}
    duplicates: dict[Path, Path] = {}
    for recording in recordings:
        digests = {"recording": digest_file(recording.path)}
        if recording.labels is not None:
            digests["labels"] = digest_file(recording.labels)
        unit = Unit(
            recording=str(recording.path),
            profile="",
            settings={},
            labels=None if recording.labels is None else str(recording.labels),
            channel=_choose_channel(recording, conditions.channel),
            tags=recording.tags,
            user=conditions.user,
            fast=conditions.fast,
        )
        for repeat in range(1, conditions.repeats + 1):
            for variant, script, resolved in zip(variants, scripts, settings, strict=True):
                if recording.profile is not None and variant.name != recording.profile:
                    continue
                one = replace(
                    unit,
                    profile=variant.name,
                    overrides=variant.overrides,
                    settings=resolved,
                    repeat=repeat,
                    seed=_derive_seed(script.seed, digests["recording"], repeat),
                    digests=digests | script.digests,
                )
                first = planned.setdefault(one.id, one)
                if first is not one:
                    duplicates[recording.path] = Path(first.recording)
    return Plan(tuple(planned.values()), tuple(duplicates.items()))


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
