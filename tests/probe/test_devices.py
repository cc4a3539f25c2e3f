"""The sound card as a probe finds it: a virtual one, and none."""

from __future__ import annotations

import pytest

from tests.support.sound_cards import running_virtual_audio  # noqa: F401
from tests.support.virtual_audio import VirtualAudio
from voicecli import clock
from voicecli.probe.devices import measure_audio
from voicecli.probe.results import ProbeResults
from voicecli.profile import load_profile


def found(*overrides: str, virtual: bool = False) -> ProbeResults:
    findings = ProbeResults()
    profile = load_profile("default", overrides=overrides)
    clock.run(measure_audio(profile, findings), virtual=virtual)
    return findings


@pytest.mark.soundcard
def test_what_a_card_adds_is_measured(virtual_audio: VirtualAudio) -> None:
    findings = found()

    assert findings.devices == "microphone 'default', loudspeaker 'default'"
    assert findings.xruns == 0
    assert len(findings.audio["audio.input"]) >= 50
    assert all(0 <= one < 0.2 for one in findings.audio["audio.input"])
    assert len(findings.audio["audio.output"]) == 1
    assert min(findings.audio["audio.jitter"]) == 0.0
    assert findings.summarize().counts["audio.xruns"] == 0


@pytest.mark.soundcard
def test_a_card_that_is_not_there_is_told(virtual_audio: VirtualAudio) -> None:
    findings = found("audio.speaker=Nowhere")

    assert findings.devices.startswith("not measured: ")
    assert "Nowhere" in findings.devices
    assert not findings.audio


def test_in_virtual_time_there_is_no_card() -> None:
    findings = found(virtual=True)

    assert (findings.devices, findings.audio, findings.xruns) == ("", {}, None)
