"""Chooses the channels of a recording that hold the user's voice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from voicecli.audio.pcm import Float32Array, Float64Array
from voicecli.errors import UsageError
from voicecli.units import Seconds

Channel = int | Literal["auto", "mix"]
"""What to play: a channel, by its index from 0; the mean of all; or what the channels suggest."""

EXAMINED: Seconds = 180.0  # of the beginning of a recording

_FRAME: Seconds = 0.02
_WINDOW: Seconds = 4.0  # of one cross-correlation
_LONGEST_DELAY: Seconds = 0.5  # between a voice and its copy in the other channel

_COPY = 0.6  # correlation from which on one channel is a copy of another; two voices reach 0.2
_DOMINANCE = 10.0  # decibels by which the channel of the party who speaks exceeds the other
_LEAST_SPEECH: Seconds = 0.4  # in which a party must be alone

_VOICE_DBFS = -60.0  # a voice has louder frames
_LEAST_SWING = 15.0  # decibels between the loud and the soft frames of a voice
_DEAD = 30.0  # decibels below the loudest channel: crosstalk of a channel that is not connected
_CANCELLED = 12.0  # decibels that the mean of copies must not lose
_LOUD, _SOFT = 95, 10  # percentiles


@dataclass(frozen=True, slots=True)
class ChannelChoice:
    """The channels to play, of which the mean is taken, and why: one sentence, or None.

    mixed: whether they hold the voices of several parties, each its own.
    """

    indices: tuple[int, ...]
    reason: str | None = None
    mixed: bool = False


def parse_channel(text: str | None) -> Channel:
    """Return the channel that ``left``, ``right``, ``mix`` or a number from 1 means."""
    if text is None:
        return "auto"
    match text.strip().casefold():
        case "left":
            return 0
        case "right":
            return 1
        case "mix":
            return "mix"
        case number if number.isascii() and number.isdecimal() and int(number[:9]) > 0:
            return int(number[:9]) - 1
    raise UsageError(
        f"--channel should be left, right, mix or a number from 1, not {text!r}",
        hint="1 is the left channel.",
    )


def choose_channels(samples: Float32Array, rate: float, *, mix: bool = False) -> ChannelChoice:
    """Choose among the channels of a recording by what they hold.

    samples: its beginning at ``rate`` hertz, a row for each sample and a column for each channel.
    mix: all are to be played, whatever they hold.
    """
    count = samples.shape[1]
    levels = _measure_levels(samples, rate)
    loud, soft = np.percentile(levels, [_LOUD, _SOFT], axis=0)
    voices = np.flatnonzero(loud > np.maximum(_VOICE_DBFS, soft + _LEAST_SWING)).tolist()
    everything = tuple(range(count))
    if count == 1 or not voices:
        return ChannelChoice(everything)
    first = voices[0]
    others = [one for one in voices[1:] if _differ(samples, levels, rate, first, one)]
    parties = f"{_name_channels([first, *others], count)} hold different speech" if others else ""
    if mix:
        reason = f"{parties}, and all is played as the user's" if others else None
        return ChannelChoice(everything, reason, mixed=bool(others))
    if others:
        reason = (
            f"{parties}; "
            f"{_name_channels([first], count)} is played as the user's (--channel chooses another)"
        )
        voices = [one for one in voices if one not in others]
    else:
        reason = None
    alive = [one for one in voices if loud[one] > loud[voices].max() - _DEAD]
    if not others and len(alive) < count:
        dead = [one for one in range(count) if one not in alive]
        reason = f"no speech in {_name_channels(dead, count)} ({loud[dead].max():.0f} dBFS)"
    if _cancel(samples[:, alive]):
        alive = alive[:1]
        reason = "the channels cancel each other, as one is inverted"
    if reason and not others:
        reason += f"; only {_name_channels(alive, count)} is played"
    return ChannelChoice(tuple(alive), reason)


def _name_channels(indices: Sequence[int], count: int) -> str:
    """Name channels: left and right of two, else by their numbers from 1."""
    if count == 2:
        return f"the {' and the '.join(('left', 'right')[one] for one in indices)} channel"
    noun = "channel" if len(indices) == 1 else "channels"
    return f"{noun} {' and '.join(str(one + 1) for one in indices)}"


def _measure_levels(samples: Float32Array, rate: float) -> Float64Array:
    """Return the level in dBFS of each frame, a row, in each channel, a column."""
    size = min(len(samples), round(_FRAME * rate))
    frames = samples[: len(samples) // size * size].reshape(-1, size, samples.shape[1])
    power: Float64Array = frames.var(axis=1, dtype=np.float64)
    return np.asarray(10 * np.log10(np.maximum(power, 1e-10)))


def _differ(
    samples: Float32Array, levels: Float64Array, rate: float, first: int, second: int
) -> bool:
    """Whether two channels hold two parties: they alternate, and are no copies."""
    difference = levels[:, first] - levels[:, second]
    spoken = levels.max(axis=1) > np.percentile(levels[:, [first, second]], _LOUD) - _DEAD
    least = _LEAST_SPEECH / _FRAME
    alternating = all(
        np.sum(spoken & (sign * difference > _DOMINANCE)) >= least for sign in (1, -1)
    )
    return alternating and _correlate(samples[:, first], samples[:, second], rate) < _COPY


def _correlate(first: Float32Array, second: Float32Array, rate: float) -> float:
    """Return the largest correlation of two channels at any delay up to _LONGEST_DELAY."""
    window = round(_WINDOW * rate)
    size = 2 * window
    cross = np.zeros(size // 2 + 1, np.complex128)
    for start in range(0, len(first), window):
        pair = [np.fft.rfft(one[start : start + window], size) for one in (first, second)]
        cross += pair[0] * np.conj(pair[1])
    correlation = np.abs(np.fft.irfft(cross, size))
    longest = round(_LONGEST_DELAY * rate)
    energy = float(np.sqrt(np.sum(first**2, dtype=float) * np.sum(second**2, dtype=float)))
    peak = max(correlation[:longest].max(), correlation[-longest:].max())
    return float(peak / energy) if energy else 0.0


def _cancel(samples: Float32Array) -> bool:
    """Whether the mean of copies is much softer than they are."""
    mixed = float(np.mean(samples.mean(axis=1, dtype=float) ** 2))
    return mixed < 10 ** (-_CANCELLED / 10) * float(np.mean(samples**2, dtype=float))
