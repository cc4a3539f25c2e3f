"""Writes a cassette while a session runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TextIO, TypeVar

import soundfile
from typing_extensions import override

from voicecli import __version__, clock
from voicecli.audio.pcm import samples_of
from voicecli.cassette.format import (
    AUDIO_SUFFIX,
    FILE_NAME,
    FORMAT,
    PROGRAM,
    SUFFIX,
    find_rate,
    parse_text,
)
from voicecli.cassette.levels import LevelMeter, WholeSamples, encode_levels
from voicecli.errors import InputError, UsageError
from voicecli.sanitize import create_redactor
from voicecli.services.recording import RequestTape, ServiceRecorder, SocketTape
from voicecli.units import SAMPLE_SIZE, Seconds

MICROSECONDS = 6
"""Digits of a time."""

T = TypeVar("T")

Redact = Callable[[str], str]
"""Replaces what looks like a secret."""


def find_files(folder: Path) -> list[Path]:
    """Return the files of the cassette in ``folder``, none if there is none."""
    try:
        return sorted(file for file in folder.iterdir() if FILE_NAME.fullmatch(file.name))
    except (FileNotFoundError, NotADirectoryError):
        return []


def check_folder(folder: Path, *, replace: bool) -> None:
    """Raise InputError if ``folder`` holds a cassette that may not be replaced."""
    if not replace and (kept := find_files(folder)):
        raise InputError(
            f"{kept[0]} exists", hint="Replace the cassette with --force, or name another folder."
        )


@contextmanager
def open_recorder(folder: Path, *, keep_audio: bool = False) -> Iterator[Recorder]:
    """Record into ``folder``, in the place of an earlier cassette.

    keep_audio: whether to keep what is said to the STT and by the TTS, as FLAC.

    Raises UsageError if it cannot be written, and at the end if something was not.
    """
    recorder = Recorder(folder, keep_audio=keep_audio)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _delete_files(folder)
    except OSError as error:
        raise _write_error(folder, error) from error
    try:
        yield recorder
    finally:
        recorder.close()
    if recorder.failure is not None:
        raise _write_error(folder, recorder.failure) from recorder.failure


def discard_cassette(folder: Path) -> None:
    """Delete the cassette in ``folder``, and the folder if nothing else is in it."""
    with suppress(OSError):
        _delete_files(folder)
        folder.rmdir()


def _delete_files(folder: Path) -> None:
    for file in find_files(folder):
        file.unlink()
        file.with_suffix(AUDIO_SUFFIX).unlink(missing_ok=True)


def _write_error(folder: Path, error: Exception) -> UsageError:
    why = (isinstance(error, OSError) and error.strerror) or str(error)
    return UsageError(
        f"the cassette {folder} could not be written: {why}",
        hint="Name a folder that you may write to.",
    )


class Recorder(ServiceRecorder):
    """A cassette that is being written.

    failure: why nothing more is written; None while all is well.
    """

    def __init__(self, folder: Path, *, keep_audio: bool) -> None:
        self.failure: Exception | None = None
        self._folder = folder
        self._audio = keep_audio
        self._stack = ExitStack()
        self._sockets = dict.fromkeys(("stt", "tts"), 0)
        self._requests = 0
        self._redact = create_redactor()
        self._llm: _Lines | None = None

    @override
    def record_socket(self, service: str, path: str) -> SocketTape:
        self._sockets[service] += 1
        name = f"{service}-{self._sockets[service]}"
        path = self._redact(path)
        rate = find_rate(path)
        lines, audio = self._open(name, service, path, rate), None
        if self._audio and rate is not None:
            audio = self.attempt(partial(self._open_audio, name, rate))
        return _RecordedSocket(lines, self._redact, service, rate or 1, audio)

    @override
    def record_request(self, method: str, path: str, body: bytes) -> RequestTape:
        if self._llm is None:
            self._llm = self._open("llm", "llm", None, None)
        self._requests += 1
        text = self._redact(body.decode(errors="surrogateescape"))
        path = self._redact(path)
        self._llm.write(request=self._requests, method=method, path=path, body=parse_text(text))
        return _RecordedRequest(self._llm, self._redact, self._requests)

    def close(self) -> None:
        """Complete the files."""
        self.attempt(self._stack.close)

    def attempt(self, action: Callable[[], T]) -> T | None:
        """Do ``action`` and return what it returns; None if the disk fails, which is noted.

        The conversation must not end with the disk, and ``open_recorder`` raises later.
        """
        try:
            return action()
        except (OSError, soundfile.LibsndfileError) as error:
            self.failure = self.failure or error
            return None

    def _open(self, name: str, service: str, path: str | None, rate: int | None) -> _Lines:
        lines = _Lines(self.attempt, self.attempt(partial(self._open_text, name)))
        header = {"cassette": FORMAT, "program": PROGRAM, "version": __version__}
        started = datetime.now(UTC).isoformat(timespec="seconds")
        lines.write_line(
            header | {"service": service, "path": path, "rate": rate, "started": started}
        )
        return lines

    def _open_text(self, name: str) -> TextIO:
        file = (self._folder / f"{name}{SUFFIX}").open(
            "w", encoding="ascii", newline="\n", buffering=1
        )
        return self._stack.enter_context(file)

    def _open_audio(self, name: str, rate: int) -> soundfile.SoundFile:
        file = soundfile.SoundFile(self._folder / f"{name}{AUDIO_SUFFIX}", "w", rate, 1, "PCM_16")
        self._stack.enter_context(file)
        return file


@dataclass(frozen=True, slots=True)
class _Lines:
    """Writes facts to a file; file: None if it could not be opened."""

    attempt: Callable[[Callable[[], object]], object]
    file: TextIO | None

    def write(self, **values: Any) -> None:
        """Write a fact of now."""
        self.write_line({"at": round(clock.now(), MICROSECONDS), **values})

    def write_line(self, values: Mapping[str, Any]) -> None:
        if (file := self.file) is not None:
            self.attempt(lambda: file.write(json.dumps(values) + "\n"))


class _RecordedSocket(SocketTape):
    """Writes the file of one WebSocket.

    rate: of its audio, in hertz.
    audio: where the audio is kept, if it is: what is sent to the STT, or comes from the TTS.
    """

    def __init__(
        self,
        lines: _Lines,
        redact: Redact,
        service: str,
        rate: int,
        audio: soundfile.SoundFile | None,
    ) -> None:
        self._lines = lines
        self._redact = redact
        self._listens = service == "stt"
        self._rate = rate
        self._audio = audio
        self._sent = 0
        self._sent_at = clock.now()
        self._meter = LevelMeter(rate)
        self._samples = WholeSamples()

    @override
    def opened(self, headers: Mapping[str, str]) -> None:
        took, self._sent_at = clock.now() - self._sent_at, clock.now()
        request_id = self._redact(headers.get("dg-request-id", ""))
        self._lines.write(opened=round(took, MICROSECONDS), request_id=request_id)

    @override
    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        shown = {name: self._redact(value) for name, value in headers.items()}
        text = self._redact(body.decode(errors="surrogateescape"))
        self._lines.write(refused=status, headers=shown, body=text)

    @override
    def sent(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self._lines.write(sent=parse_text(self._redact(message)), **self._find_position())
            return
        self._sent += len(message)
        self._sent_at = clock.now()
        for level, end in self._meter.feed(message):
            self._lines.write(level=level, audio=end)
        self._keep(message)

    @override
    def received(self, message: str | bytes) -> None:
        if isinstance(message, str) or self._listens:
            text = message if isinstance(message, str) else message.decode(errors="surrogateescape")
            self._samples.restart()
            self._lines.write(got=parse_text(self._redact(text)), **self._find_position(True))
            return
        pcm = self._samples.feed(message)
        levels = "" if self._audio is not None else encode_levels(samples_of(pcm), self._rate)
        self._lines.write(pcm=len(message), levels=levels)
        self._keep(pcm)

    @override
    def closed(self, code: int, reason: str, *, by_service: bool) -> None:
        by = "service" if by_service else "program"
        reason = self._redact(reason)
        self._lines.write(closed=code, reason=reason, by=by, **self._find_position(True))

    def _find_position(self, with_delay: bool = False) -> dict[str, Seconds]:
        """Where in the audio to the STT this is, and how long after it."""
        if not self._listens:
            return {}
        position = {"audio": round(self._sent / SAMPLE_SIZE / self._rate, MICROSECONDS)}
        if with_delay:
            position["since"] = round(clock.now() - self._sent_at, MICROSECONDS)
        return position

    def _keep(self, pcm: bytes) -> None:
        if (audio := self._audio) is not None:
            self._lines.attempt(lambda: audio.write(samples_of(pcm)))


@dataclass(slots=True)
class _RecordedRequest(RequestTape):
    """Writes one request to the LLM."""

    lines: _Lines
    redact: Redact
    number: int
    over: bool = False

    @override
    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        shown = {name: self.redact(value) for name, value in headers.items()}
        self.lines.write(answer=self.number, status=status, headers=shown)

    @override
    def received(self, data: bytes) -> None:
        text = self.redact(data.decode(errors="surrogateescape"))
        self.lines.write(answer=self.number, data=text)

    @override
    def ended(self) -> None:
        self._end("complete")

    @override
    def left(self) -> None:
        self._end("left")

    @override
    def lost(self) -> None:
        self._end("lost")

    def _end(self, how: str) -> None:
        if not self.over:
            self.over = True
            self.lines.write(answer=self.number, end=how)
