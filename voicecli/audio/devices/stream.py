"""One direction of one sound device, in callbacks of PortAudio's thread."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicecli import clock
from voicecli.audio.devices import errors as failures
from voicecli.audio.devices import host as portaudio
from voicecli.audio.devices.sample_clock import BlockTime, RateMeter, captured_at, played_at
from voicecli.audio.devices.select import Device, Direction, choose
from voicecli.errors import DeviceError, VoiceError
from voicecli.events import AudioGlitched, Event, Warned
from voicecli.units import Samples, Seconds

Sound = NDArray[np.int16]

Serve = Callable[[Sound, BlockTime], Sound]
"""Called in PortAudio's thread with a block, mono, and the time of its first sample.

Of an input stream: what was heard; the result counts for nothing.  Of an output stream: silence;
the result, of the same length, is played.  Copies and returns.
"""

_LOST: Seconds = 0.5
"""Without a callback for this long, the device is gone: PortAudio does not say so itself."""

_FIRST_CALL: Seconds = 3.0
"""A device may take its time to begin; Bluetooth does."""

_XRUNS = {
    "input": portaudio.INPUT_UNDERFLOW | portaudio.INPUT_OVERFLOW,
    "output": portaudio.OUTPUT_UNDERFLOW | portaudio.OUTPUT_OVERFLOW,
}

_CONTINUE = 0
"""pyaudio.paContinue."""

_MANY_CHANNELS = 8
"""A device with more is no piece of hardware but a server, and mixes what it is asked for."""

_TOGETHER: Seconds = 0.2
"""Glitches come in swarms: those within this are one event."""


class Notices:
    """Warnings and glitches, to be iterated over; and how many glitches there were."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._warnings: deque[Warned] = deque()
        self._told = 0
        self.xruns = 0
        """How often the device lost samples, by PortAudio's flags."""

    def glitched(self) -> None:
        """The device lost samples; to be called in its thread."""
        self.xruns += 1
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._news.set)

    def warn(self, what: VoiceError | str) -> None:
        """Something that the user should know; to be called in the loop's thread."""
        text = str(what)
        text = text[0].upper() + text[1:]
        self._warnings.append(Warned(at=clock.now(), service="audio", text=text))
        self._news.set()

    async def events(self) -> AsyncGenerator[Event, None]:
        """Warned and AudioGlitched, as they come; without end."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._warnings:
                yield self._warnings.popleft()
            if new := self.xruns - self._told:
                self._told += new
                yield AudioGlitched(at=clock.now(), xruns=new)
                await asyncio.sleep(_TOGETHER)


class Stream:
    """An open device, and what it takes to open it, or another in its place, again.

    wanted: as for ``choose``.
    rate: hertz that the program works at, to be tried when the device's own is refused.
    block: seconds of sound in each callback.
    serve: see ``Serve``.
    opened: called before the first callback, with the rate of the device.
    """

    def __init__(
        self,
        direction: Direction,
        wanted: str | None,
        rate: int,
        block: Seconds,
        serve: Serve,
        opened: Callable[[int], None],
    ) -> None:
        origin = clock.monotonic_origin()
        assert origin is not None, "a sound card knows no other time than the real one"
        self._origin = origin
        self.direction = direction
        self._wanted = wanted
        self._rate = rate
        self._block = block
        self._serve = serve
        self._opened = opened
        self._stream: Any = None
        self._called: Seconds = 0.0
        self._latency: Seconds = 0.0
        self.device: Device | None = None
        self.rate = rate
        self.channels = 1
        self.estimated = False
        self.meter = RateMeter(rate)
        self.fault: Exception | None = None
        self.notices = Notices()

    @property
    def name(self) -> str:
        """Of the device, or else of what was wanted."""
        return self.device.name if self.device else self._wanted or "default"

    @property
    def alive(self) -> bool:
        """Whether the device still calls."""
        return time.monotonic() - self._called < _LOST

    def now(self) -> Seconds:
        """The session's clock, for a thread without a loop."""
        return time.monotonic() - self._origin

    def open(self, library: portaudio.Library) -> None:
        """Open the device and start; after the first time, any that can take its place.

        Raises DeviceError.
        """
        self.device = self._chosen(portaudio.devices(library))
        rates = _rates(self.device, self._rate)
        refusal: Exception | None = None
        for rate, channels in product(rates, _channels(self.device, self.direction)):
            try:
                self._start(library, self.device, rate, channels)
            except (OSError, ValueError) as error:
                refusal = error
                if not failures.concerns_format(error):
                    break
            else:
                return
        assert refusal is not None
        raise failures.unopened(refusal, self.device, self.direction, rates) from refusal

    def close(self) -> None:
        """Stop calling.  On ALSA what is queued in the device is lost."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with portaudio.quiet():
                stream.close()

    def _chosen(self, devices: list[Device]) -> Device:
        if self.device is None:
            return choose(devices, self.direction, self._wanted)
        if self._wanted is None:
            return choose(devices, self.direction)
        try:  # by its name: the numbers have changed
            return choose(devices, self.direction, self.device.name)
        except DeviceError:
            return choose(devices, self.direction)

    def _start(self, library: portaudio.Library, device: Device, rate: int, channels: int) -> None:
        import pyaudio

        self.rate, self.channels = rate, channels
        self.meter = RateMeter(rate)
        self._opened(rate)
        self._called = time.monotonic() + _FIRST_CALL - _LOST
        options = {
            self.direction: True,
            f"{self.direction}_device_index": device.index,
            "stream_callback": self._call,
            "start": False,
        }
        with portaudio.quiet():
            self._stream = library.open(
                rate,
                channels,
                pyaudio.paInt16,
                frames_per_buffer=round(rate * self._block),
                **options,
            )
            latency = {"input": "get_input_latency", "output": "get_output_latency"}
            self._latency = getattr(self._stream, latency[self.direction])()
            self._stream.start_stream()

    def _call(
        self, data: bytes | None, frames: Samples, times: Mapping[str, float], flags: int
    ) -> tuple[bytes | None, int]:
        """PortAudio's callback; an exception here would end somewhere in the loop's thread."""
        monotonic = time.monotonic()
        self._called = monotonic
        try:
            if broken := bool(flags & _XRUNS[self.direction]):
                self.notices.glitched()
            time_ = self._time(frames, times, monotonic - self._origin)._replace(broken=broken)
            self.estimated |= time_.estimated
            self.meter.add(time_.called, frames)
            if data is None:
                sound = self._serve(np.zeros(frames, np.int16), time_)
                return np.repeat(sound, self.channels).tobytes(), _CONTINUE
            self._serve(_mono(data, self.channels), time_)
            return None, _CONTINUE
        except Exception as error:
            self.fault = self.fault or error
            return bytes(2 * self.channels * frames), _CONTINUE

    def _time(self, frames: Samples, times: Mapping[str, float], now: Seconds) -> BlockTime:
        if self.direction == "input":
            return captured_at(times, now, frames / self.rate)
        return played_at(times, now, self._latency)


def _mono(data: bytes, channels: int) -> Sound:
    sound: Sound = np.frombuffer(data, np.int16)
    if channels > 1:
        sound = sound.reshape(-1, channels).mean(axis=1).round().astype(np.int16)
    return sound


def _rates(device: Device, rate: int) -> list[int]:
    """Rates to open the device at, best first.

    Its own first; but of ALSA, PortAudio reports 44100 where that is possible at all, whereas the
    hardware and the sound servers run at 48000 by default.
    """
    own = [48_000, device.rate] if device.host_api == "ALSA" else [device.rate, 48_000]
    return list(dict.fromkeys([*own, rate, 44_100]))


def _channels(device: Device, direction: Direction) -> list[int]:
    """Numbers of channels to open the device with, best first.

    A microphone with all it has, as nobody knows which of them hears; a loudspeaker in stereo.
    """
    most = device.channels(direction)
    first = min(most, 2) if direction == "output" else most if most <= _MANY_CHANNELS else 1
    return list(dict.fromkeys([first, 1, min(most, 2), most]))
