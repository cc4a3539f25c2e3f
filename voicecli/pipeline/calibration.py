"""Measures how exact the mouth-to-ear of ``replay`` is, on signals whose ends are known.

They go the whole way: source, detector, session, virtual loudspeaker, recorder.  Where the voice
ended and the reply began is found in the recording, without anything that the session measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import soxr

from voicecli.audio.known_ends import COUNT, find_signal_end, make_signals
from voicecli.audio.pcm import SampleArray, find_audible, to_power
from voicecli.audio.recorder import CONVERSATION
from voicecli.metrics.accuracy import Calibration, summarize_errors
from voicecli.metrics.recording import find_kept_start
from voicecli.metrics.turns import Turn, measure_turns
from voicecli.pipeline.recording import play_recording
from voicecli.pipeline.wiring import open_services
from voicecli.profile import Profile
from voicecli.timeline import Timeline
from voicecli.units import Seconds

_GAP: Seconds = 1.5  # of silence between two signals
_ROOM_DBFS = -66.0  # of the noise that lies in all of it
_AROUND: Seconds = 2.5  # before the commitment, a signal is searched for


async def measure_virtual_error(profile: Profile, count: int = COUNT) -> Calibration:
    """Measure with ``count`` signals; needs virtual time.

    profile: one with scripted services.
    """
    rate = profile.audio.sample_rate
    signals = make_signals(rate, count)
    rng = np.random.default_rng(3)
    with TemporaryDirectory(prefix="voicecli-") as name:
        folder = Path(name)
        pieces = [np.zeros(rate, np.int16)]
        for signal in signals:  # they end anywhere in a block
            gap = round((_GAP + rng.random() * profile.audio.block) * rate)
            pieces += [signal, np.zeros(gap, np.int16)]
        whole = np.concatenate(pieces)
        room = rng.normal(size=len(whole)) * np.sqrt(to_power(_ROOM_DBFS))
        file = folder / "signals.wav"
        soundfile.write(file, (whole + room).round().astype(np.int16), rate, subtype="PCM_16")
        timeline = Timeline()
        async with open_services(profile) as services:
            await play_recording(file, 0, profile, services, folder / "kept", timeline)
        both, recorded_rate = soundfile.read(folder / "kept" / CONVERSATION, dtype="int16")
    start = find_kept_start(timeline)
    known = [soxr.resample(one, rate, recorded_rate) for one in signals]
    turns = [turn for turn in measure_turns(timeline) if turn.mouth_to_ear is not None]
    return summarize_errors([*_compare(turns, known, both, recorded_rate, start)])


def _compare(
    turns: Sequence[Turn],
    signals: Sequence[SampleArray],
    both: SampleArray,
    rate: int,
    start: Seconds,
) -> Iterator[Seconds]:
    """Yield printed minus recorded mouth-to-ear of the turns, one for each signal.

    start: when the recording begins, on the session's clock.
    """
    for turn, signal in zip(turns, signals, strict=True):
        assert turn.mouth_to_ear is not None
        assert turn.heard_at is not None
        commit, heard = (round((at - start) * rate) for at in (turn.at, turn.heard_at))
        since = max(0, commit - round(_AROUND * rate))
        ended = since + find_signal_end(signal, both[since:heard, 0], rate)
        audible = find_audible(both[commit:, 1])
        assert audible is not None
        yield turn.mouth_to_ear - (commit + audible - ended) / rate
