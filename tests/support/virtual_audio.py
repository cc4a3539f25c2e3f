"""A virtual microphone and loudspeaker: a private PulseAudio daemon, no sound card, root is fine.

One null sink of two channels, the bus, carries both devices, so that a recording of its monitor is
sample-synchronous: left is what the microphone heard, right is what the loudspeaker played.  What
is played into ``mic_in`` is spoken into the microphone.

A null sink hands out its blocks before they sound, and takes their length from its clients: 7 to
20 ms, and another one as soon as a stream opens.  A reader that stays keeps it at 10 ms.

By hand, for a shell:

    eval "$(python tests/support/virtual_audio.py start)"
    python tests/support/virtual_audio.py echo -20 80    loudspeaker into microphone; "echo off"
    python tests/support/virtual_audio.py say FILE.wav
    python tests/support/virtual_audio.py record OUT.wav 10    seconds of the bus
    python tests/support/virtual_audio.py stop
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

RATE = 48_000
PROGRAMS = ("pulseaudio", "pactl", "pacat", "parec")

# norewinds: a plain null sink renders up to 2 s ahead, and then a client loses what it plays first.
_MODULES = """\
load-module module-native-protocol-unix socket={folder}/native auth-anonymous=1
load-module module-null-sink sink_name=bus norewinds=1 rate={rate} channels=2 \
channel_map=front-left,front-right
load-module module-remap-sink sink_name=mic_in master=bus channels=1 channel_map=mono \
master_channel_map=front-left remix=no
load-module module-remap-sink sink_name=speaker master=bus channels=1 channel_map=mono \
master_channel_map=front-right remix=no
load-module module-remap-source source_name=mic master=bus.monitor channels=1 channel_map=mono \
master_channel_map=front-left remix=no
set-default-sink speaker
set-default-source mic
"""

# Takes the place of the system's alsa.conf: PortAudio sees these devices only.
_ALSA = """\
pcm.!default { type pulse }
ctl.!default { type pulse }
pcm.virtual_mic { type pulse device mic }
pcm.virtual_speaker { type pulse device speaker }
"""


class VirtualAudio:
    """The daemon; ``environment`` is what a program needs to find it.

    folder: keeps its socket and its process id; a PortAudio that is told of a missing asound.conf
        aborts its process, so the folder stays behind.
    """

    def __init__(self, folder: Path, rate: int = RATE) -> None:
        self.folder = folder
        self.rate = rate
        self._speaking: list[subprocess.Popen[bytes]] = []
        self.environment = {
            "PULSE_SERVER": f"unix:{folder}/native",
            "PULSE_COOKIE": f"{folder}/cookie",
            "ALSA_CONFIG_PATH": f"{folder}/asound.conf",
        }

    def start(self) -> None:
        """Start the daemon (0.2 s), unless it runs; RuntimeError when it does not come up."""
        if self.pactl("info"):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "default.pa").write_text(
            _MODULES.format(folder=self.folder, rate=self.rate), encoding="ascii"
        )
        (self.folder / "asound.conf").write_text(_ALSA, encoding="ascii")
        (self.folder / "cookie").touch()
        private = {
            "HOME": str(self.folder),
            "XDG_RUNTIME_DIR": str(self.folder),
            "PULSE_RUNTIME_PATH": str(self.folder / "run"),
            "PULSE_STATE_PATH": str(self.folder / "state"),
        }
        options = "-n --daemonize=no --use-pid-file=no --exit-idle-time=-1 --disallow-exit"
        with (self.folder / "log").open("wb") as log:
            daemon = subprocess.Popen(
                ["pulseaudio", *options.split(), "--disable-shm=yes", "-F", "default.pa"],
                cwd=self.folder,
                env=os.environ | private,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        (self.folder / "pid").write_text(str(daemon.pid), encoding="ascii")
        self._daemon = daemon
        self._wait_for("mic\t", "sources")
        self._reader = self._read_bus("--raw", stdout=subprocess.DEVNULL)
        self._wait_for("protocol-native.c", "source-outputs")

    def stop(self) -> None:
        """End the daemon at once, as if the sound system had crashed."""
        pid = int((self.folder / "pid").read_text(encoding="ascii"))
        with suppress(ProcessLookupError):  # it has ended by itself
            os.kill(pid, signal.SIGKILL)
        self.hush()
        if daemon := getattr(self, "_daemon", None):
            daemon.wait()
            self._reader.terminate()
            self._reader.wait()
        (self.folder / "native").unlink(missing_ok=True)

    def pactl(self, *arguments: str) -> str:
        """What ``pactl`` prints; nothing when it fails."""
        return subprocess.run(
            ["pactl", *arguments], env=self._env, capture_output=True, text=True, check=False
        ).stdout

    def speak(self, pcm: bytes, rate: int) -> None:
        """Begin to speak linear16 into the microphone; it is heard in some 50 ms."""
        shape = ("--raw", "--format=s16le", f"--rate={rate}", "--channels=1")
        command = ["pacat", "-d", "mic_in", *shape, "--latency-msec=50"]
        with tempfile.TemporaryFile() as file:  # a pipe would block until most of it is said
            file.write(pcm)
            file.seek(0)
            speaking = subprocess.Popen(command, env=self._env, stdin=file)
        self._speaking.append(speaking)

    def hush(self) -> None:
        """Stop speaking."""
        while self._speaking:
            speaking = self._speaking.pop()
            speaking.terminate()
            speaking.wait()

    def listen(self, *options: str) -> subprocess.Popen[bytes]:
        """A recorder of the bus: interleaved linear16 on its standard output, or a file."""
        return self._read_bus(*options, stdout=subprocess.PIPE)

    def echo(self, decibels: float, delay_ms: int) -> None:
        """Mix the loudspeaker into the microphone, ``delay_ms`` late; until ``echo_off``."""
        module = self.pactl(
            *("load-module", "module-loopback", "source=speaker.monitor", "sink=mic_in"),
            *(f"latency_msec={delay_ms}", "source_dont_move=true", "sink_dont_move=true"),
        ).strip()
        for block in self.pactl("list", "sink-inputs").split("Sink Input #")[1:]:
            if f"Owner Module: {module}\n" in block:
                self.pactl("set-sink-input-volume", block.split()[0], f"{decibels}dB")

    def echo_off(self) -> None:
        """End the echo."""
        self.pactl("unload-module", "module-loopback")

    @contextmanager
    def echoing(self, decibels: float, delay_ms: int) -> Iterator[None]:
        """An ``echo`` for as long as the block lasts."""
        self.echo(decibels, delay_ms)
        try:
            yield
        finally:
            self.echo_off()

    def _wait_for(self, text: str, kind: str) -> None:
        """Wait until the daemon lists ``text`` among what it has of a ``kind``."""
        for _ in range(100):
            if self._daemon.poll() is None and text in self.pactl("list", "short", kind):
                return
            time.sleep(0.05)
        self._daemon.kill()
        raise RuntimeError((self.folder / "log").read_text(errors="replace")[-2000:])

    def _read_bus(self, *options: str, stdout: int) -> subprocess.Popen[bytes]:
        shape = ("-d", "bus.monitor", f"--rate={self.rate}", "--channels=2", "--latency-msec=10")
        return subprocess.Popen(
            ["parec", *shape, *options], env=self._env, stdout=stdout, stderr=subprocess.DEVNULL
        )

    @property
    def _env(self) -> dict[str, str]:
        return os.environ | self.environment


def missing_programs() -> list[str]:
    """What is not installed of what this needs (Debian: pulseaudio pulseaudio-utils)."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


def main() -> None:
    folder = os.environ.get("VIRTUAL_AUDIO_DIR", f"{tempfile.gettempdir()}/virtual-audio")
    audio = VirtualAudio(Path(folder))
    match sys.argv[1:]:
        case ["start"]:
            audio.start()
            for name, value in audio.environment.items():
                print(f"export {name}={value}")
        case ["stop"]:
            audio.stop()
        case ["echo", "off"]:
            audio.echo_off()
        case ["echo", decibels, delay_ms]:
            audio.echo(float(decibels), int(delay_ms))
        case ["say", file]:
            command = ["paplay", "--device=mic_in", "--latency-msec=20", file]
            subprocess.run(command, env=os.environ | audio.environment, check=True)
        case ["record", file, seconds]:
            recorder = audio.listen("--file-format=wav", file)
            time.sleep(float(seconds))
            recorder.terminate()
            recorder.wait()
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
