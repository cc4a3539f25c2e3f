"""PortAudio, through PyAudio: imported late, and kept from writing to the terminal."""

from __future__ import annotations

import ctypes
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache
from typing import Any

from voicecli.audio.devices import select
from voicecli.audio.devices.select import Device, Direction

Library = Any  # an instance of ``pyaudio.PyAudio``


@contextmanager
def open_portaudio() -> Iterator[Library]:
    """Run PortAudio for the length of the block; raises DeviceError."""
    library = start_portaudio()
    try:
        yield library
    finally:
        stop_portaudio(library)


def start_portaudio() -> Library:
    """Start PortAudio, which looks for devices now and never again; raises DeviceError."""
    try:
        with redirect_stdout(io.StringIO()):  # PyAudio prints before it raises
            import pyaudio
    except ImportError as error:
        raise select.make_import_error(error) from error
    _disable_library_output()
    try:
        with silence_stderr():
            return pyaudio.PyAudio()
    except OSError as error:
        raise select.make_start_error(error) from error


def stop_portaudio(library: Library) -> None:
    """Close all streams and stop PortAudio."""
    with silence_stderr():
        library.terminate()


def list_devices(library: Library) -> list[Device]:
    """Return all devices that were there when PortAudio started."""
    defaults = {direction: _find_default(library, direction) for direction in select.NOUNS}
    devices = []
    for index in range(library.get_device_count()):
        info = library.get_device_info_by_index(index)
        host_api = library.get_host_api_info_by_index(info["hostApi"])["name"]
        devices.append(select.parse_device(info, host_api, defaults))
    return devices


def supports_rate(library: Library, device: Device, direction: Direction, rate: int) -> bool:
    """Whether the device claims to support mono at ``rate``."""
    import pyaudio

    request = {
        f"{direction}_device": device.index,
        f"{direction}_channels": 1,
        f"{direction}_format": pyaudio.paInt16,
    }
    try:
        with silence_stderr():
            return bool(library.is_format_supported(float(rate), **request))
    except ValueError:
        return False


@contextmanager
def silence_stderr() -> Iterator[int | None]:
    """Redirect file descriptor 2 to /dev/null, process-wide; yield a duplicate of the original.

    PortAudio and JACK write to it unconditionally.  Messages of other threads are lost, too, so
    keep it short.  Yields None if there is no standard error.
    """
    try:
        saved = os.dup(2)
    except OSError:
        yield None
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
    try:
        yield saved
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _find_default(library: Library, direction: Direction) -> int | None:
    try:
        return int(getattr(library, f"get_default_{direction}_device_info")()["index"])
    except OSError:  # how PyAudio reports that there is none
        return None


@cache  # keeps the callbacks alive, as the libraries go on calling them
def _disable_library_output() -> list[Any]:
    """Keep ALSA and JACK from printing, even while a stream runs: up to 80 lines."""
    text = ctypes.c_char_p
    alsa = (None, text, ctypes.c_int, text, ctypes.c_int, text)
    kept = []
    for name, signature, setters in (
        ("libasound.so.2", alsa, ["snd_lib_error_set_handler"]),
        ("libjack.so.0", (None, text), ["jack_set_error_function", "jack_set_info_function"]),
    ):
        try:
            loaded = ctypes.CDLL(name)
        except OSError:  # not on this system
            continue
        ignore = ctypes.CFUNCTYPE(*signature)(lambda *_: None)
        for setter in setters:
            getattr(loaded, setter)(ignore)
        kept.append(ignore)
    return kept
