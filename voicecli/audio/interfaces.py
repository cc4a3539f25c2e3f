"""The audio ends of a conversation, as the session and the reply see them.

Both know only these protocols, not the adapters behind them.  Adapters own no task, queue or
callback: the pipeline sends to them and iterates over them.  Audio is linear16, mono.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from voicecli.events import Event
from voicecli.settings import milliseconds, setting
from voicecli.units import AudioBlock, AudioFormat, Samples, Seconds

if TYPE_CHECKING:
    from voicecli.audio.vad.network import Window  # numpy: 0.1 s

Hearing = Generator["Window", float, list[Event]]
"""Yields windows, is sent the probability of a voice in each, and returns the events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioSettings:
    """Microphone, loudspeaker and local voice detection."""

    sample_rate: int = setting(
        48_000,
        "Hertz, of the microphone and of what the STT is sent; 48000 is 96 kB/s.",
        ge=8000,
        le=48_000,
    )
    block: Seconds = milliseconds(
        20, "Length of microphone blocks; each waits for its last sample.", ge=10, le=250
    )
    microphone: str | None = setting(
        None, "Part of its name, or its index; null: the system's default."
    )
    speaker: str | None = setting(
        None, "Part of its name, or its index; null: the system's default."
    )
    gain_db: float | Literal["auto"] = setting(
        0.0,
        "Amplifies the microphone; a limiter prevents clipping; auto: speech to -26 dBFS.",
        ge=-40,
        le=60,
    )
    prebuffer: Seconds = milliseconds(
        60, "Audio queued before a reply starts; grows after an underrun.", ge=0, le=500
    )
    vad: Literal["silero", "energy"] = setting(
        "silero", "Voice detector: silero, a neural network, or energy, by loudness alone."
    )
    hangover: Seconds = milliseconds(200, "Silence that ends a stretch of voice.", ge=50, le=2000)
    echo_cancellation: Literal["auto", "on", "off"] = setting(
        "auto",
        "Remove the agent's voice from the microphone; auto: with interrupt.policy speakers.",
    )


class Source(Protocol):
    """Where the user's voice comes from: a microphone, or a recording paced like one.

    format: of the blocks.
    """

    format: AudioFormat

    def blocks(self) -> AsyncGenerator[AudioBlock, None]:
        """Yield each block when its last sample has been captured; after the input, silence."""

    def pause(self) -> None:
        """Stop the input while nobody listens; by default nothing: live input does not wait."""
        return

    def resume(self) -> None:
        """Continue the input where it was paused."""
        return

    def take_events(self) -> Sequence[Event]:
        """Return what has happened to the input since the last call; by default nothing."""
        return ()


class Sink(Protocol):
    """Where the agent's voice goes to, one reply at a time.  Only its coroutines wait.

    A reply is a ``start``, any number of ``write``, an ``end``, and a ``finish`` or a ``clear``.

    format: of what is written.
    """

    format: AudioFormat

    def start(self) -> None:
        """Begin a reply; the rest of the one before fades out."""

    def write(self, pcm: bytes) -> None:
        """Queue whole samples; playback begins when the pre-buffer is filled, or at the end.

        Ignored after ``end`` or ``clear``.
        """

    def end(self) -> None:
        """Mark the reply as complete: what is queued plays to its last sample."""

    async def started(self) -> Seconds:
        """Wait until the reply's first audible sample is heard; return when that was.

        Waits for ever if the reply is cleared before that.  Raises DeviceError.
        """

    async def finish(self) -> None:
        """Wait until everything written has been heard.

        Raises DeviceError when the device is lost and no other takes its place.
        """

    async def drain_to(self, level: Seconds) -> None:
        """Wait until at most ``level`` of what was written has still to be heard.

        While playback is held, this waits.  Raises DeviceError.
        """

    def duck(self) -> None:
        """Lower the volume by 20 dB, with a short fade."""

    def hold(self) -> None:
        """Fall silent with a short fade and keep the position; writes are still queued."""

    def resume(self) -> None:
        """Continue from the exact sample at full volume, with a short fade."""

    def clear(self) -> Samples:
        """Fall silent with a short fade and drop the rest; return the samples heard."""

    @property
    def settles_at(self) -> Seconds:
        """When the last order has taken effect at the loudspeaker, its fade included."""

    @property
    def heard(self) -> Samples:
        """Samples of this reply that have been heard."""

    @property
    def queued(self) -> Seconds:
        """Playing time of what has not been heard yet."""

    @property
    def underruns(self) -> int:
        """How often this reply ran dry before its end."""

    @property
    def estimated(self) -> bool:
        """Whether playback times are estimates because the sound card reports none."""


class Measurement(Protocol):
    """Something that takes milliseconds to measure, and that no conversation waits for."""

    def measure(self) -> Event:
        """Measure it; in any thread."""


class Detector(Protocol):
    """Detects speech locally, on the sample clock, so that files and live input behave alike."""

    def feed(self, block: AudioBlock) -> Iterable[Event]:
        """Return what ``block`` reveals of the user's voice.

        SpeechSuspected, SpeechStarted, SpeechPaused, SpeechResumed, SpeechStopped,
        SpeechEndMeasured; their ``at`` is the end of the block.
        """

    def hear(self, block: AudioBlock) -> Hearing:
        """Do what ``feed`` does, but have the caller judge the windows that are a network's.

        By default there are none.
        """
        yield from ()
        return list(self.feed(block))

    def take_measurements(self) -> Sequence[Measurement]:
        """Return what ``hear`` found out and left to measure; ``feed`` measures it itself."""
        return ()

    def reset(self) -> None:
        """Expect a discontinuity: forget speech in progress, keep the noise level."""
