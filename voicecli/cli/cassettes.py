"""The options about cassettes, which ``talk`` and ``replay`` share."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voicecli.errors import UsageError

if TYPE_CHECKING:
    from voicecli.cassette.reader import Cassette
    from voicecli.corpus.cassettes import CassetteFolder
    from voicecli.pipeline.wiring import Services as Wired
    from voicecli.profile import Profile

RecordServices = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Keep what the services say, with its timing, in DIR."),
]
RecordAudio = Annotated[
    bool,
    typer.Option("--record-audio", help="With --record-services: keep the audio, too, as FLAC."),
]
Services = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Ask no service: answer as recorded in DIR; works with --fast."
    ),
]


@dataclass(frozen=True, slots=True)
class CassetteUse:
    """What a session does with cassettes.

    cassette: is served in the place of the services; None: they are asked.
    folder: where a cassette is recorded; None: none is.
    audio: whether audio is recorded as well.
    """

    cassette: Cassette | None
    folder: Path | None
    audio: bool

    @asynccontextmanager
    async def open_services(self, profile: Profile) -> AsyncGenerator[Wired, None]:
        """Open the services of ``profile``, or the cassette; record what they say if wanted."""
        from voicecli.pipeline.wiring import open_services

        with ExitStack() as stack:
            recorder = None
            if self.folder is not None:
                from voicecli.cassette.recorder import open_recorder

                recorder = stack.enter_context(open_recorder(self.folder, keep_audio=self.audio))
            async with open_services(
                profile, recorder=recorder, cassette=self.cassette
            ) as services:
                yield services


def choose_cassette(
    record: Path | None, audio: bool, served: Path | None, force: bool
) -> CassetteUse:
    """Read the cassette to be served, and check the folder to record into.

    Raises UsageError for options that do not go together; InputError for a cassette that cannot be
    read, or must not be replaced.
    """
    _check_options(record, audio, served)
    cassette = None
    if record is not None:
        from voicecli.cassette.recorder import check_folder

        check_folder(record, replace=force)
    if served is not None:
        from voicecli.cassette.reader import load_cassette

        cassette = load_cassette(served)
    return CassetteUse(cassette, record, audio)


def choose_cassette_folder(
    record: Path | None, audio: bool, served: Path | None
) -> CassetteFolder | None:
    """Return where the cassettes of several recordings are, and what is done with them.

    Raises UsageError for options that do not go together.
    """
    from voicecli.corpus.cassettes import CassetteFolder

    _check_options(record, audio, served)
    if record is not None:
        return CassetteFolder(record, "record audio" if audio else "record")
    return None if served is None else CassetteFolder(served, "serve")


def _check_options(record: Path | None, audio: bool, served: Path | None) -> None:
    if audio and record is None:
        raise UsageError("--record-audio is about a cassette", hint="Add --record-services DIR.")
    if record is not None and served is not None:
        raise UsageError(
            "--services answers from a cassette, and --record-services records one",
            hint="Leave one of them out.",
        )
