"""The process's streams, each one direction of one device, and the PortAudio they share."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import product
from math import inf
from typing import Any

import numpy as np

from voicecli import clock
from voicecli.audio.devices import host, select
from voicecli.audio.devices.sample_clock import BlockTime, RateMeter, captured_at, played_at
from voicecli.audio.devices.select import Device, Direction
from voicecli.audio.pcm import SampleArray
from voicecli.errors import DeviceError, VoiceError
from voicecli.events import AudioGlitched, Event, Warned
from voicecli.units import Samples, Seconds

BlockCallback = Callable[[SampleArray, BlockTime], SampleArray]
"""Called in PortAudio's thread with a mono block and the time of its first sample; must not block.

For an input stream the block is what was captured, and the result is ignored.  For an output stream
it is silence, and the result, of the same length, is played.
"""

_CALLBACK_TIMEOUT: Seconds = 0.5  # then the device is gone: PortAudio does not report it
_FIRST_CALLBACK_TIMEOUT: Seconds = 3.0  # Bluetooth devices are slow to start
_STALL_GRACE: Seconds = 0.05  # callbacks due while the process was stopped arrive within this
_REOPEN_INTERVAL: Seconds = 0.2  # between two attempts to replace a lost device
_REOPEN_TIMEOUT: Seconds = 10.0  # then a lost device is an error

_XRUN_FLAGS = {"input": 1 | 2, "output": 4 | 8}
"""PortAudio's flags for underflow and overflow; 16, that a stream is being primed, is no fault."""

_CONTINUE = 0  # pyaudio.paContinue
_MOST_HARDWARE_CHANNELS = 8  # a device with more is a sound server, which mixes down
_XRUN_WINDOW: Seconds = 0.2  # xruns come in bursts: those within this time are one event


class DeviceEvents:
    """Collects a device's warnings and xruns; yields them as events."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._warnings: deque[Warned] = deque()
        self._reported = 0
        self.xruns = 0
        """How often the device lost samples, by PortAudio's flags."""

    def count_xrun(self) -> None:
        """Count lost samples.  Call in PortAudio's thread."""
        self.xruns += 1
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._arrived.set)

    def warn(self, what: VoiceError | str) -> None:
        """Report something that the user should know.  Call in the loop's thread."""
        text = str(what)
        text = text[0].upper() + text[1:]
        self._warnings.append(Warned(at=clock.now(), service="audio", text=text))
        self._arrived.set()

    async def iterate(self) -> AsyncGenerator[Event, None]:
        """Yield Warned and AudioGlitched as they come, without end."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._warnings:
                yield self._warnings.popleft()
            if new := self.xruns - self._reported:
                self._reported += new
                yield AudioGlitched(at=clock.now(), xruns=new)
                await asyncio.sleep(_XRUN_WINDOW)


@dataclass(eq=False)
class Stream:
    """One direction of a device; can be opened again on another device.

    wanted: as for ``select.choose_device``.
    own_rate: the program's in hertz, tried when the device refuses its default rate.
    block: seconds of sound in each callback.
    on_open: called with the device's rate before the first callback.
    """

    direction: Direction
    wanted: str | None
    own_rate: int
    block: Seconds
    on_block: BlockCallback
    on_open: Callable[[int], None]
    owner: DeviceHost = field(init=False)

    def __post_init__(self) -> None:
        origin = clock.monotonic_origin()
        assert origin is not None, "sound cards run in real time only"
        self._origin = origin
        self._stream: Any = None
        self._called: Seconds = -inf
        self._latency: Seconds = 0.0
        self.device: Device | None = None
        self.rate = self.own_rate
        self.channels = 1
        self.estimated = False
        self.meter = RateMeter(self.rate)
        self.fault: Exception | None = None
        self.events = DeviceEvents()

    @property
    def name(self) -> str:
        """Name of the device, or of the one wanted while none is open."""
        return self.device.name if self.device else self.wanted or "default"

    @property
    def alive(self) -> bool:
        """Whether the device still calls back."""
        return self.now() - self._called < _CALLBACK_TIMEOUT

    def now(self) -> Seconds:
        """The session's clock, for a thread without a loop."""
        return time.monotonic() - self._origin

    def open(self, library: host.Library) -> None:
        """Open the device and start; on reopening, any device that can replace it.

        Raises DeviceError.
        """
        self.device = self._choose(host.list_devices(library))
        rates = _list_rates(self.device, self.own_rate)
        refusal: Exception | None = None
        for rate, channels in product(rates, _list_channels(self.device, self.direction)):
            try:
                self._start(library, self.device, rate, channels)
            except (OSError, ValueError) as error:
                refusal = error
                if not select.is_format_refused(error):
                    break
            else:
                return
        assert refusal is not None
        raise select.make_open_error(refusal, self.device, self.direction, rates) from refusal

    def close(self) -> None:
        """Stop the callbacks.  On ALSA, what is queued in the device is lost."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with host.silence_stderr():
                stream.close()

    def _choose(self, devices: list[Device]) -> Device:
        if self.device is None:
            return select.choose_device(devices, self.direction, self.wanted)
        with suppress(DeviceError):
            if self.wanted is not None:  # by its name: the indices have changed
                return select.choose_device(devices, self.direction, self.device.name)
        return select.choose_device(devices, self.direction)

    def _start(self, library: host.Library, device: Device, rate: int, channels: int) -> None:
        import pyaudio

        self.rate, self.channels = rate, channels
        self.meter = RateMeter(rate)
        self.on_open(rate)
        self._called = self.now() + _FIRST_CALLBACK_TIMEOUT - _CALLBACK_TIMEOUT
        options = {
            self.direction: True,
            f"{self.direction}_device_index": device.index,
            "frames_per_buffer": round(rate * self.block),
            "stream_callback": self._call,
            "start": False,
        }
        with host.silence_stderr():
            self._stream = library.open(rate, channels, pyaudio.paInt16, **options)
            self._latency = getattr(self._stream, f"get_{self.direction}_latency")()
            self._stream.start_stream()

    def _call(
        self, data: bytes | None, frames: Samples, times: Mapping[str, float], flags: int
    ) -> tuple[bytes | None, int]:
        """PortAudio's callback; keeps an exception for ``DeviceHost.check``."""
        now = self._called = self.now()
        try:
            if broken := bool(flags & _XRUN_FLAGS[self.direction]):
                self.events.count_xrun()
            if self.direction == "input":
                block_time = captured_at(times, now, frames / self.rate)
            else:
                block_time = played_at(times, now, self._latency)
            block_time = block_time._replace(broken=broken)
            self.estimated |= block_time.estimated
            self.meter.add(now, frames)
            if data is None:
                played = self.on_block(np.zeros(frames, np.int16), block_time)
                return np.repeat(played, self.channels).tobytes(), _CONTINUE
            captured: SampleArray = np.frombuffer(data, np.int16)
            if self.channels > 1:
                mean = captured.reshape(-1, self.channels).mean(axis=1)
                captured = mean.round().astype(np.int16)
            self.on_block(captured, block_time)
            return None, _CONTINUE
        except Exception as error:
            self.fault = self.fault or error
            return bytes(2 * self.channels * frames), _CONTINUE


def _list_rates(device: Device, rate: int) -> list[int]:
    """Rates to open the device at, best first.

    Its own comes first; but PortAudio reports 44100 for any ALSA device that can do it, while the
    hardware and the sound servers run at 48000 by default.
    """
    own = [48_000, device.rate] if device.host_api == "ALSA" else [device.rate, 48_000]
    return list(dict.fromkeys([*own, rate, 44_100]))


def _list_channels(device: Device, direction: Direction) -> list[int]:
    """Numbers of channels to open the device with, best first.

    A microphone with all, as any of them may be the one in use; a loudspeaker in stereo.
    """
    most = device.channels[direction]
    all_inputs = most if most <= _MOST_HARDWARE_CHANNELS else 1
    first = min(most, 2) if direction == "output" else all_inputs
    return list(dict.fromkeys([first, 1, min(most, 2), most]))


_portaudio_lock = threading.Lock()
"""There is one PortAudio per process, and starting it is not thread-safe."""


class DeviceHost:
    """Runs one PortAudio for all streams, from the first to the last.

    All calls are made in one thread of its own: some systems require that, and they take 10 ms to
    seconds, which must not block the loop.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="portaudio")
        self._library: host.Library | None = None
        self._streams: list[Stream] = []
        self._replacing = asyncio.Lock()
        self.users = 0

    async def call(self, function: Callable[..., None], *args: Stream) -> None:
        """Call ``open`` or ``close`` in PortAudio's thread."""
        await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)

    async def check(self) -> None:
        """Return at once while all devices call back; otherwise replace the lost ones first.

        PortAudio must be restarted to see new devices, which interrupts all streams.  Raises
        DeviceError when a lost device is not replaced in time.
        """
        for stream in self._streams:
            if stream.fault:
                raise stream.fault
        if not self._find_lost():
            return
        await asyncio.sleep(_STALL_GRACE)
        async with self._replacing:
            if lost := self._find_lost():
                await self._replace(lost)

    def shut_down(self) -> None:
        """Let the thread end once its calls are done."""
        self._thread.shutdown(wait=False)

    def _find_lost(self) -> list[Stream]:
        return [stream for stream in self._streams if not stream.alive]

    async def _replace(self, lost: list[Stream]) -> None:
        for stream in lost:
            stream.events.warn(select.make_loss_error(stream.direction, stream.name))
        give_up_at = clock.now() + _REOPEN_TIMEOUT
        while True:
            try:
                await self.call(self._restart)
                break
            except DeviceError as error:
                if clock.now() >= give_up_at:
                    raise select.make_loss_error(lost[0].direction, lost[0].name) from error
                await asyncio.sleep(_REOPEN_INTERVAL)
        for stream in lost:
            stream.events.warn(f"Switched to the {select.NOUNS[stream.direction]} {stream.name!r}.")

    def open(self, stream: Stream) -> None:
        """Open ``stream``; raises DeviceError."""
        with _portaudio_lock:
            if self._library is None:
                self._library = host.start_portaudio()
            self._streams.append(stream)
            stream.open(self._library)

    def close(self, stream: Stream) -> None:
        """Close ``stream``, open or still opening; after the last one, stop PortAudio."""
        with _portaudio_lock:
            stream.close()
            if stream in self._streams:
                self._streams.remove(stream)
            if not self._streams:
                self._stop()

    def _restart(self) -> None:
        with _portaudio_lock:
            for stream in self._streams:
                stream.close()
            self._stop()
            self._library = host.start_portaudio()
            for stream in self._streams:
                stream.open(self._library)

    def _stop(self) -> None:
        library, self._library = self._library, None
        if library is not None:
            host.stop_portaudio(library)


_device_host: DeviceHost | None = None


@asynccontextmanager
async def open_stream(stream: Stream) -> AsyncIterator[None]:
    """Open ``stream`` on the host that all streams of the process share; raises DeviceError."""
    global _device_host
    stream.owner = shared = _device_host = _device_host or DeviceHost()
    shared.users += 1
    try:
        await shared.call(shared.open, stream)
        yield
    finally:
        shared.users -= 1
        if not shared.users:
            _device_host = None
        try:
            # PortAudio's thread silences standard error for the whole process while it closes.
            await complete(shared.call(shared.close, stream))
        finally:
            if not shared.users:
                shared.shut_down()


async def complete(work: Coroutine[Any, Any, None]) -> None:
    """Wait until ``work`` has ended, also when cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
