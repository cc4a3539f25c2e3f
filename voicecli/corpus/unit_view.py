"""The part of a corpus's page that shows one unit: in short, or with its recording in full."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from htpy import Element, Node, b, blockquote, details, div, span, summary

from voicecli.audio.recorder import CONVERSATION
from voicecli.corpus.label_file import load_labels
from voicecli.corpus.unit import Unit, UnitResult
from voicecli.metrics.stages import MOUTH_TO_EAR
from voicecli.profile import restore_profile
from voicecli.report.format import format_count, format_measured, format_ms
from voicecli.report.html.conversation import read_conversation
from voicecli.report.html.turn_taking import compose_faults
from voicecli.report.html.waterfall import draw_bar
from voicecli.report.measurement import measure_session
from voicecli.sanitize import sanitize_line
from voicecli.timeline import LABELS, TIMELINE, load


@dataclass(frozen=True, slots=True)
class UnitView:
    """Shows units.

    find_folder: returns where a unit's session is, if it was kept.
    name_variant: returns what its variant is called; None where there is only one.
    """

    find_folder: Callable[[Unit], Path]
    name_variant: Callable[[str], str] | None

    def compose_in_full(self, result: UnitResult, room: int) -> tuple[Element, int]:
        """Return a unit with recording and waterfalls, and the bytes of sound that are left."""
        unit, folder = result.unit, self.find_folder(result.unit)
        if not all((folder / name).exists() for name in (TIMELINE, CONVERSATION)):
            return self.compose(result, is_open=True), room
        timeline = load(folder / TIMELINE).timeline
        profile = restore_profile(unit.settings, f"unit {unit.id}")
        labels = load_labels(folder / LABELS) if (folder / LABELS).exists() else None
        measured = measure_session(timeline, profile, folder, labels)
        conversation = read_conversation(timeline, measured, folder, labels, most_sound=room)
        content = div(data_session=True)[
            conversation.compose_recording(),
            compose_faults(measured.interaction),
            conversation.compose_turns(f"{unit.id}-"),
        ]
        recording = conversation.recording
        used = len(recording.sound) if recording is not None and recording.sound else 0
        return self._wrap(result, content, is_open=True), room - used

    def compose(self, result: UnitResult, *, is_open: bool = False) -> Element:
        """Return a unit in short: where the time of its turns went, and what was said."""
        turns = result.result["turns"] if result.result else []
        slowest = max((turn["mouth_to_ear_ms"] or 0.0 for turn in turns), default=0.0)
        content = [_compose_turn(turn, slowest) for turn in turns]
        return self._wrap(result, content, is_open=is_open)

    def _wrap(self, result: UnitResult, content: Node, *, is_open: bool) -> Element:
        unit = result.unit
        of = [self.name_variant(unit.variant)] if self.name_variant is not None else []
        of += [f"repeat {unit.repeat}"] if unit.repeat > 1 else []
        return details(".unit", open=is_open)[
            summary[
                b(dir="auto")[sanitize_line(unit.name)],
                span(".note")[" · ".join([*of, *_describe(result)])],
            ],
            content,
        ]


def _compose_turn(turn: Mapping[str, Any], slowest: float) -> Element:
    """Return a turn in short: where the time went, what is to know of it, what was said.

    slowest: mouth-to-ear of the unit's slowest turn, which sets the scale.
    """
    total = turn["mouth_to_ear_ms"]
    notes = [turn["outcome"], turn["reason"]]
    if turn["cut_off"]:
        after = turn.get("went_on_ms")
        notes.append("cut off" if after is None else f"cut off: goes on after {after:.0f} ms")
    if turn["failure"]:
        notes.append(f"{turn['failure']['service'].upper()} failed: {turn['failure']['reason']}")
    notes += [f"over budget: {name}" for name in turn["over_budget"]]
    notes += [f"unreliable: {why}" for why in turn["unreliable"]]
    return blockquote[
        div[
            b[f"#{turn['turn']}"],
            span[
                draw_bar(turn, slowest) if total else None,
                _format_total(turn) if total else "not measured",
                span(".note")[" · ", sanitize_line(" · ".join(notes))],
            ],
        ],
        div[b["user"], span(dir="auto")[sanitize_line(turn["user_text"])]],
        div[b["agent"], span(dir="auto")[sanitize_line(turn["said"]) or "–"]],
    ]


def _format_total(turn: Mapping[str, Any]) -> str:
    error = turn.get("error_ms")
    return format_measured(turn["mouth_to_ear_ms"] / 1000, None if error is None else error / 1000)


def _describe(result: UnitResult) -> Iterator[str]:
    """Yield what a unit came to, a clause each."""
    if result.result is None:
        yield f"failed: {sanitize_line(result.failure.message)}" if result.failure else "failed"
        return
    found = result.result["summary"][MOUTH_TO_EAR.name]
    if found["n"]:
        p50, most = found["p50_ms"] / 1000, found["max_ms"] / 1000
        yield f"P50 {format_ms(p50)} ms, max {format_ms(most)} ms (n = {found['n']})"
    ledger = result.result["ledger"]
    yield format_count(ledger["turns"], "turns")
    for name, words in (("cutoffs", "cut off"), ("no_reply", "without reply")):
        if ledger[name]:
            yield f"{ledger[name]} {words}"
    if not result.result["measurement"]["reliable"]:
        yield "not reliable"
