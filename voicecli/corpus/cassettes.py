"""Cassettes of a corpus: one for each unit, in a folder of its own below one that the user names.

A unit finds its cassette by the contents of the recording, the channel, the profile's name and the
repeat, whatever else changed: ``call-1f0e5a72`` is of ``call.wav``.  So a run with real services is
repeated in virtual time, and with other settings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from voicecli.cassette.reader import Cassette, load_cassette
from voicecli.cassette.recorder import Recorder, check_folder, discard_cassette, open_recorder
from voicecli.cassette.recorder import find_files as find_cassette_files
from voicecli.corpus.unit import CassetteUse, Unit
from voicecli.errors import InputError

KEY_LENGTH = 8
"""Hexadecimal digits of what tells recordings of the same name apart."""

LONGEST_NAME = 60
"""Characters of a recording's name that are in that of its cassette."""


@dataclass(frozen=True, slots=True)
class CassetteFolder:
    """The cassettes of all units, below ``folder``."""

    folder: Path
    use: CassetteUse

    def assign(self, unit: Unit) -> Unit:
        """Return ``unit`` with its cassette; raises InputError where one is served, and missing."""
        kept = self.folder.absolute() / name_cassette(unit)
        digests = unit.digests
        if self.use == "serve":
            digests = {**digests, "cassette": self._digest(kept, unit)}
        return replace(unit, cassette=str(kept), cassette_use=self.use, digests=digests)

    def _digest(self, kept: Path, unit: Unit) -> str:
        """Return the digest of all files of the cassette in ``kept``."""
        digest = hashlib.sha256()
        if not (files := find_cassette_files(kept)):
            raise InputError(
                f"{self.folder} holds no cassette of {unit.recording} with profile {unit.profile}"
                + (f", repeat {unit.repeat}" if unit.repeat > 1 else ""),
                hint="Record one with the same recordings, profiles and --repeat.",
            )
        for file in files:
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
        return digest.hexdigest()[:20]


def name_cassette(unit: Unit) -> str:
    """Return the name of a unit's cassette: the same for the same recording and profile."""
    parts = [unit.digests["recording"], unit.channel, unit.profile, unit.repeat]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:KEY_LENGTH]
    return f"{unit.name[:LONGEST_NAME]}-{key}"


def check_cassettes(units: Iterable[Unit], *, replace: bool) -> None:
    """Raise InputError if one of the cassettes that ``units`` record is there already."""
    for unit in units:
        if unit.cassette is not None and unit.cassette_use != "serve":
            check_folder(Path(unit.cassette), replace=replace)


def load_unit_cassette(unit: Unit) -> Cassette | None:
    """Load the cassette that takes the place of the services; None: they are asked."""
    served = unit.cassette_use == "serve" and unit.cassette is not None
    return load_cassette(Path(unit.cassette or "")) if served else None


@contextmanager
def open_unit_recorder(unit: Unit) -> Iterator[Recorder | None]:
    """Record the cassette of ``unit``, if it has one to record; a failed session leaves none."""
    if unit.cassette is None or unit.cassette_use == "serve":
        yield None
        return
    folder = Path(unit.cassette)
    try:
        with open_recorder(folder, keep_audio=unit.cassette_use == "record audio") as recorder:
            yield recorder
    except BaseException:
        discard_cassette(folder)
        raise
