"""Recordings of several channels: two parties, copies, a dead channel."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.wild import Case
from tests.wild.recordings import RATE, Sound, delay, noise, read_user, replay, speech, write
from voicecli.audio.channels import choose_channels
from voicecli.cli.app import run

KIND = "a recording of several channels"
MIXED = "all channels mixed"

FAST = ("--profile", "scripted", "--fast")


@dataclass(frozen=True)
class ChannelCase(Case):
    """channels: the names of sounds of ``make_sounds``."""

    channels: tuple[str, ...]

    def outcome(self) -> str:
        sounds = make_sounds()
        samples = np.stack([sounds[name] for name in self.channels], axis=1)
        choice = choose_channels(samples, RATE)
        if choice.reason is not None:
            return choice.reason
        return MIXED if len(choice.indices) == len(self.channels) else str(choice.indices)


@cache
def make_sounds() -> dict[str, Sound]:
    first, second = speech("0880"), speech("0890")
    user = np.concatenate([first, np.zeros_like(second)])
    agent = np.concatenate([np.zeros_like(first), second])
    count = len(user)
    time = np.arange(count) / RATE
    return {
        "user": user,
        "agent": agent,
        "user on a noisy line": user + noise(count, -52),
        "agent on a noisy line": agent + noise(count, -48),
        "user with crosstalk": user + 0.1 * agent,
        "agent with crosstalk": agent + 0.1 * user,
        "the agent's echo and the user": user + 0.1 * delay(agent, 0.12),
        "quiet user": user * np.float32(0.05),
        "both": user + agent,
        "both at half": 0.5 * (user + agent),
        "both inverted": -(user + agent),
        "both, 1 ms later": delay(user + agent, 0.001),
        "both, 200 ms later and softer": 0.3 * delay(user + agent, 0.2) + noise(count, -55),
        "silence": np.zeros(count, np.float32),
        "noise": noise(count, -50),
        "hum": (0.05 * np.sin(2 * np.pi * 50 * time)).astype(np.float32),
        "crosstalk": 0.01 * (user + agent) + noise(count, -75),
    }


LEFT = (
    "the left and the right channel hold different speech; the left channel is played as the "
    "user's (--channel chooses another)"
)


TOGETHER = "the left and the right channel hold different speech, and all is played as the user's"


def case(name: str, after: str, *channels: str, before: str = MIXED) -> ChannelCase:
    return ChannelCase(KIND, name, before, after, channels)


CASES = [
    case("a call: customer left, agent right", LEFT, "user", "agent"),
    case("a call over noisy lines", LEFT, "user on a noisy line", "agent on a noisy line"),
    case("a call with crosstalk", LEFT, "user with crosstalk", "agent with crosstalk"),
    case("a call with the agent's echo", LEFT, "the agent's echo and the user", "agent"),
    case("a call with a soft customer", LEFT, "quiet user", "agent"),
    case(
        "a call with a third, silent channel",
        (
            "channels 1 and 3 hold different speech; channel 1 is played as the user's "
            "(--channel chooses another)"
        ),
        "user",
        "silence",
        "agent",
    ),
    case("the same on both sides", MIXED, "both", "both"),
    case("one voice, panned", MIXED, "both", "both at half"),
    case("two microphones, 1 ms apart", MIXED, "both", "both, 1 ms later"),
    case("a delayed copy", MIXED, "both", "both, 200 ms later and softer"),
    case("silence on both sides", MIXED, "silence", "silence"),
    case(
        "one channel is inverted",
        "the channels cancel each other, as one is inverted; only the left channel is played",
        "both",
        "both inverted",
        before="all channels mixed: silence",
    ),
    case(
        "the right channel is dead",
        "no speech in the right channel (-100 dBFS); only the left channel is played",
        "both",
        "silence",
        before="all channels mixed: 6 dB softer",
    ),
    case(
        "the left channel is noise",
        "no speech in the left channel (-49 dBFS); only the right channel is played",
        "noise",
        "both",
        before="all channels mixed: 6 dB softer, and noisier",
    ),
    case(
        "the left channel hums",
        "no speech in the left channel (-29 dBFS); only the right channel is played",
        "hum",
        "both",
        before="all channels mixed: 6 dB softer, and hum",
    ),
    case(
        "the right channel is not connected",
        "no speech in the right channel (-60 dBFS); only the left channel is played",
        "both",
        "crosstalk",
        before="all channels mixed: 6 dB softer",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_channels_are_chosen_by_what_they_hold(case: ChannelCase) -> None:
    assert case.outcome() == case.after


@pytest.mark.parametrize(
    ("options", "heard", "notices"),
    [
        ([], "user", [f"! AUDIO: FILE: {LEFT}"]),
        (["--channel", "left"], "user", []),
        (["--channel", "1"], "user", []),
        (["--channel", "Right"], "agent", []),
        (["--channel", "2"], "agent", []),
        (["--channel", "mix"], "both at half", [f"! AUDIO: FILE: {TOGETHER}"]),
    ],
)
def test_replay_plays_the_channel(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: Sequence[str],
    heard: str,
    notices: Sequence[str],
) -> None:
    sounds = make_sounds()
    path = write(tmp_path / "call.wav", sounds["user"], sounds["agent"])
    out = tmp_path / "out"
    code, found = replay(path, capsys, [*options, "--out", str(out)])
    assert (code, found) == (0, notices)
    user = read_user(out, 1.5)
    assert np.abs(user - sounds[heard][: len(user)]).max() < 0.02
    said = [json.loads(line) for line in (out / "timeline.jsonl").read_text().splitlines()]
    assert sum("different speech" in str(entry) for entry in said) == len(notices)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("3", "error: FILE has 2 channels, and no channel 3. Give another --channel."),
        ("0", "error: --channel should be left, right, mix or a number from 1, not '0'. "),
        ("-1", "error: --channel should be left, right, mix or a number from 1, not '-1'. "),
        ("middle", "error: --channel should be left, right, mix or a number from 1, not 'middle'"),
        ("9" * 5000, "error: FILE has 2 channels, and no channel 999999999. "),
    ],
)
def test_a_channel_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, error: str
) -> None:
    path = write(tmp_path / "a.wav", noise(RATE, -30), noise(RATE, -30))
    code, (notice,) = replay(path, capsys, [f"--channel={name}"])
    assert code == 2
    assert notice.startswith(error)


def test_a_mono_recording_has_no_right_channel(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.wav", speech())
    assert replay(path, capsys, ["--channel", "left"]) == (0, [])
    error = "error: FILE has 1 channel, and no channel 2. Give another --channel."
    assert replay(path, capsys, ["--channel", "right"]) == (2, [error])


SCORED = ("cutoff_rate", "talk_over_s", "agent_interruption_rate", "response_rate", "dead_air_s")
"""Metrics that are scored without labels, where the user's voice can be told."""


def score_replay(capsys: pytest.CaptureFixture[str], path: Path, *options: str) -> dict[str, Any]:
    capsys.readouterr()
    assert run(["replay", str(path), *FAST, "--user", "oblivious", "--json", *options]) == 0
    interaction: dict[str, Any] = json.loads(capsys.readouterr().out)["interaction"]
    return interaction


def test_parties_that_are_mixed_are_not_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody can tell whose turn was cut off; one party alone, or copies of one, are scored."""
    sounds = make_sounds()
    call = write(tmp_path / "call.wav", sounds["user"], sounds["agent"])
    copies = write(tmp_path / "copies.wav", sounds["both"], sounds["both at half"])
    mixed = score_replay(capsys, call, "--channel", "mix")
    assert mixed["events"] == []
    for name in SCORED:
        assert "several parties are played as the user" in mixed["metrics"][name]["why"]
        assert mixed["metrics"][name]["value"] is None
    for path, options in ((call, ()), (call, ("--channel", "right")), (copies, ())):
        scored = score_replay(capsys, path, *options)
        assert scored["events"]
        reasons = [scored["metrics"][name]["why"] or "" for name in SCORED]
        assert not any("several parties" in why for why in reasons)


def test_labels_tell_mixed_parties_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """But not whose words are in the transcripts."""
    sounds = make_sounds()
    call = write(tmp_path / "call.wav", sounds["user"], sounds["agent"])
    spoken = np.flatnonzero(np.abs(sounds["user"]) > 0.02) / RATE
    (tmp_path / "call.labels.yaml").write_text(
        "version: 1\nspans:\n"
        f"- {{start: {spoken[0]:.3f}, end: {spoken[-1]:.3f}, kind: turn, text: hello there}}\n"
    )
    scored = score_replay(capsys, call, "--channel", "mix")
    assert [one["subject"] for one in scored["events"]].count("turn") == 1
    assert scored["metrics"]["response_rate"]["n"] == 1
    assert "another person's words" in scored["metrics"]["wer"]["why"]


def test_the_summary_says_why_nothing_is_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sounds = make_sounds()
    call = write(tmp_path / "call.wav", sounds["user"], sounds["agent"])
    assert run(["replay", str(call), *FAST, "--channel", "mix"]) == 0
    assert "wer: several parties are played as the user" in capsys.readouterr().out
    expectation = ["--expect", "cutoff_rate<0.5"]
    assert run(["replay", str(call), *FAST, "--channel", "mix", *expectation]) == 1
    assert "several parties are played as the user" in capsys.readouterr().err
