"""PortAudio, reached through PyAudio: loaded late and kept quiet."""

from __future__ import annotations

import ctypes
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache
from typing import Any

from voicecli.audio.devices import errors as failures
from voicecli.audio.devices.select import Device, Direction, described

INPUT_UNDERFLOW, INPUT_OVERFLOW, OUTPUT_UNDERFLOW, OUTPUT_OVERFLOW = 1, 2, 4, 8
"""PortAudio's status flags; 16 says that a stream is being primed and is no fault."""

Library = Any
"""An instance of ``pyaudio.PyAudio``."""


@contextmanager
def initialised() -> Iterator[Library]:
    """PortAudio for as long as the block lasts; raises DeviceError."""
    library = start()
    try:
        yield library
    finally:
        end(library)


def start() -> Library:
    """Start PortAudio: it looks for devices now, and never again; raises DeviceError."""
    try:
        with redirect_stdout(io.StringIO()):  # PyAudio prints before it raises
            import pyaudio
    except ImportError as error:
        raise failures.missing(error) from error
    _silence()
    try:
        with quiet():
            return pyaudio.PyAudio()
    except OSError as error:
        raise failures.uninitialised(error) from error


def end(library: Library) -> None:
    """Close what is open, and end PortAudio."""
    with quiet():
        library.terminate()


def devices(library: Library) -> list[Device]:
    """All devices, as they were when PortAudio started."""
    defaults = [
        _default(library.get_default_input_device_info),
        _default(library.get_default_output_device_info),
    ]
    infos = map(library.get_device_info_by_index, range(library.get_device_count()))
    return [
        described(info, library.get_host_api_info_by_index(info["hostApi"])["name"], *defaults)
        for info in infos
    ]


def supports(library: Library, device: Device, direction: Direction, rate: int) -> bool:
    """Whether the device says that it can do mono at ``rate``."""
    import pyaudio

    wanted = {
        f"{direction}_device": device.index,
        f"{direction}_channels": 1,
        f"{direction}_format": pyaudio.paInt16,
    }
    try:
        with quiet():
            return bool(library.is_format_supported(float(rate), **wanted))
    except ValueError:
        return False


@contextmanager
def quiet() -> Iterator[None]:
    """Standard error leads nowhere: PortAudio and JACK write to it whatever they are told.

    For opening and closing only; it takes the messages of other threads with it.
    """
    with hushed():
        yield


def _default(ask: Any) -> int | None:
    try:
        index: int = ask()["index"]
    except OSError:  # PyAudio's way to say that there is none
        return None
    return index


@cache  # keeps the callbacks alive, as the libraries go on calling them
def _silence() -> list[Any]:
    """Tell ALSA and JACK not to print; they do so while a stream runs, too.  80 lines at times."""
    text = ctypes.c_char_p
    alsa = (None, text, ctypes.c_int, text, ctypes.c_int, text)
    kept = []
    for name, signature, setters in (
        ("libasound.so.2", alsa, ["snd_lib_error_set_handler"]),
        ("libjack.so.0", (None, text), ["jack_set_error_function", "jack_set_info_function"]),
    ):
        try:
            loaded = ctypes.CDLL(name)
        except OSError:  # other systems have neither
            continue
        ignore = ctypes.CFUNCTYPE(*signature)(lambda *_: None)
        for setter in setters:
            getattr(loaded, setter)(ignore)
        kept.append(ignore)
    return kept


@contextmanager
def hushed() -> Iterator[int | None]:
    """What is written to descriptor 2 leads nowhere, of all threads; gives the one it led to.

    None where there is no standard error.
    """
    try:
        saved = os.dup(2)
    except OSError:
        yield None
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield saved
    finally:
        os.dup2(saved, 2)
        os.close(saved)
