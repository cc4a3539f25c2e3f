"""What ``probe`` predicts against a conversation with the same services, in virtual time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.conversations import converse
from tests.support.probes import SENTENCES, run_probe, scripted
from voicecli.metrics.summary import describe
from voicecli.probe.clips import load_clips
from voicecli.probe.prediction import predict
from voicecli.probe.stt import GOLDEN_RATIO
from voicecli.profile import Profile
from voicecli.standin.script import Latency, LlmScript, Script, SttScript, TtsScript
from voicecli.units import AudioFormat, Seconds

SAYS = "It is sunny today, with a light wind from the west. Tomorrow it rains."
TURNS = 8
SHARE = 0.03


def converse_with_clips(profile: Profile, interim: Seconds, ttft: Seconds) -> list[Seconds]:
    """Say the clips of the probe after pauses of 1 to 2 s; return mouth-to-ear of each turn."""
    format = AudioFormat(profile.audio.sample_rate)
    clips = load_clips(format)
    spoken = b""
    for number in range(TURNS):
        clip = clips[number % len(clips)]
        spoken += clip.with_lead(1.0 + number * GOLDEN_RATIO % 1)
    script = Script(
        stt=SttScript(interim=interim, hears=tuple(SENTENCES)),
        llm=LlmScript(ttft=Latency(ttft), says=(SAYS,)),
        tts=TtsScript(),
    )
    talk = converse(profile, script, spoken + clips[0].silence(3.0))
    assert talk.error is None
    assert [turn.user_text for turn in talk.turns] == SENTENCES * (TURNS // len(SENTENCES))
    return talk.mouth_to_ear()


@pytest.mark.parametrize(
    ("interim", "ttft", "settings"),
    [
        (1000, 500, ("turn.detect=endpointing",)),
        (1000, 500, ("turn.detect=vad",)),
        (200, 500, ("turn.detect=vad",)),
        (200, 200, ("turn.detect=vad",)),
    ],
)
def test_the_prediction_is_that_of_a_conversation(
    tmp_path: Path, interim: int, ttft: int, settings: tuple[str, ...]
) -> None:
    script = {
        "stt": {"interim_ms": interim, "hears": SENTENCES},
        "llm": {"ttft_ms": ttft, "says": [SAYS]},
    }
    profile = scripted(tmp_path, script, *settings)
    predicted = predict(run_probe(profile, count=TURNS, cold=0).measurements(), profile)
    measured = converse_with_clips(profile, interim / 1000, ttft / 1000)

    assert predicted is not None
    found = describe(measured)
    assert len(measured) == TURNS
    assert predicted.mean == pytest.approx(sum(measured) / TURNS, rel=SHARE)
    assert predicted.distribution.p50 == pytest.approx(found.p50, rel=SHARE)
