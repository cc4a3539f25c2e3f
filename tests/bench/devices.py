"""Part e: ``talk`` through virtual devices, measured from outside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.virtual_audio import VirtualAudio


@contextmanager
def open_virtual_audio() -> Iterator[VirtualAudio]:
    """A virtual sound card that programs started from here find."""
    with TemporaryDirectory() as folder:
        audio = VirtualAudio(Path(folder))
        audio.start()
        os.environ.update(audio.environment)
        try:
            yield audio
        finally:
            audio.stop()
