"""The parts of a page that show one conversation: its recording and its turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from htpy import (
    Element,
    Node,
    audio,
    b,
    blockquote,
    button,
    details,
    div,
    figcaption,
    fragment,
    p,
    span,
    summary,
)

from voicecli.audio.recorder import CONVERSATION
from voicecli.metrics.labels import Labels, Span
from voicecli.metrics.recording import Recording as PlayedRecording
from voicecli.metrics.recording import find_kept_start
from voicecli.metrics.turns import Turn
from voicecli.report.format import format_measured
from voicecli.report.html.marks import Mark, list_marks
from voicecli.report.html.recording import MOST_SOUND, Recording, read_recording
from voicecli.report.html.waterfall import draw_waterfall
from voicecli.report.html.waveform import draw_waveform
from voicecli.report.json_result import encode_turn
from voicecli.report.measurement import Measurement
from voicecli.report.turn_lines import list_marks as list_turn_marks
from voicecli.timeline import Timeline
from voicecli.units import Seconds

OPEN_TURNS = 12
"""Up to so many turns, the waterfalls are shown; of more, each is folded."""

LEAD: Seconds = 0.5
"""How long before a turn its recording is played from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """One session, with what was heard.

    start: when its recording begins, on the session's clock.
    marks, labels: as positions in the recording.
    """

    measured: Measurement
    start: Seconds = 0.0
    marks: Sequence[Mark] = ()
    recording: Recording | None = None
    labels: Sequence[Span] = ()

    def encode_turns(self) -> list[dict[str, Any]]:
        """Return all turns as plain data."""
        budgets = self.measured.profile.budgets
        return [encode_turn(turn, budgets) for turn in self.measured.turns]

    def compose_recording(self) -> Node:
        """Return the waveform with its marks, and the sound; nothing if there is no recording."""
        if self.recording is None:
            return None
        sound, uri = self.recording.sound, self.recording.data_uri
        if sound is None or uri is None:
            player: Node = p(".note")["The sound is too long to be kept in this file."]
        else:
            size = f"{len(sound) / 1e6:.1f} MB"
            player = fragment[
                audio(controls=True, preload="metadata", src=uri),
                p(".note")[
                    f"User on the left, agent on the right; Ogg Vorbis, {size}. "
                    "A click on the waveform plays from there."
                ],
            ]
        picture = draw_waveform(self.recording.envelope, self.marks, self.labels)
        note = figcaption[
            "Seconds of the recording; each voice is scaled to its loudest sample. "
            "Marks are from the session's timeline, the waveform from its recording."
        ]
        return fragment[player, picture, note]

    def compose_turns(self, prefix: str = "") -> Node:
        """Return every turn: what was said, where the time went, what else is to know.

        prefix: of the anchors, which must differ in a page.
        """
        encoded = self.encode_turns()
        if not encoded:
            return p["No turn was committed."]
        is_open = len(encoded) <= OPEN_TURNS
        starts = {mark.turn: mark.start for mark in self.marks if mark.kind == "turn"}
        plays = self.recording is not None and self.recording.sound is not None
        shown = []
        for turn, one in zip(self.measured.turns, encoded, strict=True):
            at = max(starts.get(turn.turn, turn.at - self.start) - LEAD, 0.0) if plays else None
            shown.append(self._compose_turn(turn, one, at, is_open, prefix))
        return shown

    def _compose_turn(
        self,
        turn: Turn,
        encoded: Mapping[str, Any],
        at: Seconds | None,
        is_open: bool,
        prefix: str,
    ) -> Element:
        total = encoded["mouth_to_ear_ms"]
        shown = "not measured"
        if turn.mouth_to_ear:
            shown = format_measured(turn.mouth_to_ear, turn.error)
        marks = list_turn_marks(turn, self.measured.profile.budgets)
        play = button(type="button", data_at=f"{at:.2f}")["▶ play"] if at is not None else None
        return details(".turn", id=f"{prefix}turn-{turn.turn}", open=is_open, data_print=True)[
            summary[
                b[f"#{turn.turn}"],
                span(".total")[shown],
                span[turn.outcome],
                span(".note")[" · ".join(marks)],
                play,
            ],
            blockquote[
                div[b["user"], span(dir="auto")[encoded["user_text"]]],
                div[b["agent"], span(dir="auto")[encoded["said"] or "–"]],
            ],
            draw_waterfall(encoded) if total else None,
        ]


def read_conversation(
    timeline: Timeline,
    measured: Measurement,
    folder: Path | None,
    labels: Labels | None = None,
    *,
    most_sound: int = MOST_SOUND,
) -> Conversation:
    """Return the conversation of a session, with its recording; raises InputError.

    folder: holds the recording; None: there is none.
    labels: of what was played in the microphone's place.
    most_sound: bytes of the recording's sound that are kept for playing.
    """
    recording = None
    if folder is not None:
        recording = read_recording(folder / CONVERSATION, most_sound=most_sound)
    start = find_kept_start(timeline)
    marks = list_marks(timeline, measured.turns, measured.interaction)
    placed = place_labels(labels, timeline) if labels else ()
    return Conversation(
        measured=measured,
        start=start,
        marks=[replace(one, start=one.start - start, end=one.end - start) for one in marks],
        recording=recording,
        labels=[replace(one, start=one.start - start, end=one.end - start) for one in placed],
    )


def place_labels(labels: Labels, timeline: Timeline) -> list[Span]:
    """Return the labels of a recording on the clock of the session in which it was played."""
    played = PlayedRecording(timeline)
    placed = []
    for label in labels.spans:
        start, end = played.find_time(label.start), played.find_time(label.end)
        if start is not None:
            length = label.end - label.start
            placed.append(replace(label, start=start, end=start + length if end is None else end))
    return placed
