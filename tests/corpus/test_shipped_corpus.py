"""The shipped corpus: its labels are what the sound shows, and its scenes can be built again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests import independent
from tests.speech.build import BUILDERS, SCENES, build_scene, to_int16
from tests.speech.measure import measure_edges
from tests.speech.signals import HERE, RATE
from tests.speech.voice import PHRASES
from voicecli.corpus.label_file import find_labels, load_labels
from voicecli.corpus.manifest import find_recordings
from voicecli.corpus.plan import Conditions, load_variants, plan_units
from voicecli.corpus.run import run_units
from voicecli.corpus.tally import Tally
from voicecli.corpus.tau_voice import build_interaction_metrics
from voicecli.corpus.unit import UnitResult
from voicecli.metrics.labels import Span

SENTENCES = sorted(HERE.glob("librivox-*.wav"))


def list_spans(recording: Path) -> tuple[Span, ...]:
    labels = find_labels(recording)
    assert labels is not None
    return load_labels(labels, soundfile.info(recording).duration).spans


@pytest.mark.parametrize("recording", SENTENCES, ids=lambda file: file.stem)
def test_the_labels_of_a_recorded_sentence_are_what_its_energy_shows(recording: Path):
    (turn,) = list_spans(recording)
    edges = measure_edges(recording)
    assert (turn.start, turn.end) == pytest.approx((edges.start, edges.end), abs=0.001)
    assert all(end - start < 0.2 for start, end in edges.silences)


def test_the_measurement_finds_known_edges_within_a_step(tmp_path: Path):
    """A made sentence with a soft fricative at its end, in noise."""
    rng = np.random.default_rng(1)
    time = np.arange(2 * RATE) / RATE
    samples = rng.normal(0, 0.001, len(time))
    voiced = (time >= 0.4) & (time < 1.2)
    samples[voiced] += 0.2 * np.sign(np.sin(2 * np.pi * 120 * time[voiced]))
    hiss = (time >= 1.5) & (time < 1.7)
    samples[hiss] += np.diff(rng.normal(0, 0.004, hiss.sum() + 1))
    soundfile.write(tmp_path / "x.wav", samples, RATE)
    edges = measure_edges(tmp_path / "x.wav")
    assert (edges.start, edges.end) == pytest.approx((0.4, 1.7), abs=0.0101)
    ((start, end),) = edges.silences
    assert (start, end) == pytest.approx((1.2, 1.5), abs=0.0101)


@pytest.mark.parametrize("name", BUILDERS)
def test_a_scene_is_built_again_to_the_sample(name: str):
    samples, labels = build_scene(name)
    shipped, rate = soundfile.read(SCENES / f"{name}.flac", dtype="int16")
    assert rate == RATE
    assert np.array_equal(to_int16(samples), shipped)
    assert list_spans(SCENES / f"{name}.flac") == labels.spans


def test_the_manifest_names_every_recording_and_all_have_labels():
    found = find_recordings([str(HERE / "corpus.yaml")])
    there = [*SENTENCES, *SCENES.glob("*.flac")]
    assert sorted(one.path.resolve() for one in found) == sorted(file.resolve() for file in there)
    assert all(one.labels is not None and one.tags for one in found)
    assert sum(file.stat().st_size for file in there) < 3_000_000


def test_back_channels_are_held_and_interruptions_end_the_reply(tmp_path: Path):
    """What is said over a reply is said while the agent speaks, with the scripted latencies."""
    scenes = [str(SCENES / f"{name}.flac") for name in ("backchannels", "interruptions")]
    sets = ("interrupt.policy=headphones",)
    units = plan_units(
        find_recordings(scenes), load_variants(["scripted"], sets), Conditions(fast=True)
    ).units
    found: list[UnitResult] = []
    run_units(units, found.append)
    tally = Tally()
    for result in found:
        tally.add(result)
    panel = build_interaction_metrics(tally)["overall"]
    counts = panel["counts"]
    assert (counts["backchannel_total"], panel["selectivity_backchannel"]) == (7, 1.0)
    assert (counts["yield_total"], panel["yield_rate"]) == (2, 1.0)
    assert panel["yield_latency_mean"] < 0.3
    assert 0.6 < panel["response_latency_mean"] < 0.75
    turns = [
        [(turn["user_text"], turn["outcome"]) for turn in unit.result["turns"]]
        for unit in found
        if unit.result is not None
    ]
    assert turns == [
        [(PHRASES["rome"], "answered"), (PHRASES["train"], "answered")],
        [
            (PHRASES["rome"], "interrupted"),
            (PHRASES["meant"], "interrupted"),
            (PHRASES["instead"], "answered"),
        ],
    ]


def test_the_sound_shows_the_holds_and_stops_that_are_scored(tmp_path: Path):
    """All seven back-channels and both interruptions, by an independent check of the sound."""
    scenes = [SCENES / f"{name}.flac" for name in ("backchannels", "interruptions")]
    units = plan_units(
        find_recordings([str(scene) for scene in scenes]),
        load_variants(["scripted"], ("interrupt.policy=headphones",)),
        Conditions(fast=True),
    ).units
    results: list[UnitResult] = []
    run_units(units, results.append, sessions=str(tmp_path))
    holds, stops = [], []
    for scene in scenes:
        (result,) = (one for one in results if one.unit.name == scene.stem)
        assert result.result is not None
        labels = find_labels(scene)
        assert labels is not None
        heard = independent.listen(tmp_path / result.unit.id, labels)
        events = result.result["interaction"]["events"]
        held = [one["outcome"] == "held" for one in events if one["subject"] == "backchannel"]
        stopped = [one["stop"] for one in events if one["subject"] == "interruption"]
        assert heard.holds == held
        for scored, sounded in zip(stopped, heard.stops, strict=True):  # or between two syllables
            assert sounded is not None
            assert -0.010 <= scored - sounded <= independent.LONGEST_DIP
        holds, stops = holds + heard.holds, stops + heard.stops
    assert holds == [True] * 7
    assert len(stops) == 2
