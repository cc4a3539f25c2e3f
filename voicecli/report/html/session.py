"""Composes the page of one session."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
    h3,
    li,
    p,
    small,
    span,
    ul,
)
from htpy import summary as summary_element

from voicecli.metrics.labels import Span
from voicecli.metrics.stages import MOUTH_TO_EAR, STAGES
from voicecli.metrics.summary import MIN_COUNT
from voicecli.metrics.turns import Turn
from voicecli.metrics.usage import COUNTS, OUTCOMES
from voicecli.report.format import format_count, format_ms
from voicecli.report.html.ecdf import Line, Sample, draw_ecdf
from voicecli.report.html.marks import Mark
from voicecli.report.html.page import (
    compose_definitions,
    compose_facts,
    compose_name,
    compose_section,
    compose_table,
    render_page,
)
from voicecli.report.html.recording import Recording
from voicecli.report.html.waterfall import draw_stacks, draw_waterfall
from voicecli.report.html.waveform import draw_waveform
from voicecli.report.json_result import encode_turn
from voicecli.report.measurement import Measurement
from voicecli.report.summary_lines import PERCENTILE_NOTES, format_cost, list_percentiles
from voicecli.report.turn_lines import list_marks as list_turn_marks
from voicecli.sanitize import sanitize_line
from voicecli.units import Seconds, ms

OPEN_TURNS = 12
"""Up to so many turns, the waterfalls are shown; of more, each is folded."""

LEAD: Seconds = 0.5
"""How long before a turn its recording is played from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPage:
    """What the page of a session shows.

    name: what was played, or the session's folder.
    conditions: how it was measured, a clause each.
    verdicts: the lines of the expectations, as (met, text).
    predicted: the prediction of a saved probe.
    baseline: mouth-to-ear of the turns that it is compared with, in milliseconds.
    labels: on the session's clock.
    """

    name: str
    conditions: Sequence[str]
    measured: Measurement
    verdicts: Sequence[tuple[bool, str]] = ()
    marks: Sequence[Mark] = ()
    recording: Recording | None = None
    predicted: Mapping[str, Any] | None = None
    baseline: Sequence[float] = ()
    labels: Sequence[Span] = field(default=())

    def render(self) -> str:
        """Return the page."""
        encoded = [encode_turn(turn, self.measured.profile.budgets) for turn in self.measured.turns]
        measured = [turn for turn in encoded if turn["mouth_to_ear_ms"]]
        content = div(data_session=True)[
            compose_facts(dict(self._list_facts())),
            self._compose_verdicts(),
            self._compose_recording(),
            self._compose_latency(measured),
            self._compose_prediction(measured),
            self._compose_turns(encoded),
            self._compose_ledger(),
        ]
        metrics = [*self.measured.summary.distributions, *COUNTS]
        definitions = compose_definitions(metrics)
        subtitle = " · ".join(map(sanitize_line, self.conditions))
        return render_page(self.name, subtitle, content, definitions)

    def _list_facts(self) -> Iterator[tuple[str, Node]]:
        found, usage = self.measured.summary.distributions[MOUTH_TO_EAR.name], self.measured.usage
        of = f"n = {found.n}"
        yield "mouth-to-ear, P50", [f"{format_ms(found.p50)} ms" if found.n else "–", small[of]]
        if found.p95 is None:
            yield "mouth-to-ear, P95", ["withheld", small[f"{of}, {MIN_COUNT['p95']} needed"]]
        else:
            yield "mouth-to-ear, P95", [f"{format_ms(found.p95)} ms", small[of]]
        outcomes = ", ".join(
            f"{getattr(usage, one)} {one}" for one in OUTCOMES if getattr(usage, one)
        )
        yield "turns", [str(usage.turns), small[outcomes]]
        heard = f", {usage.cutoffs_heard} heard" if usage.cutoffs else ""
        of = f"of {format_count(usage.turns, 'turns')}"
        yield "cut-offs", [str(usage.cutoffs), small[f"{of}{heard}"]]
        yield "no reply", [str(usage.no_reply), small[of]]
        doubted = sum(bool(turn.unreliable) for turn in self.measured.turns)
        yield "not reliable", [str(doubted), small[of]]

    def _compose_verdicts(self) -> Node:
        if not self.verdicts:
            return None
        lines = (li(class_=None if met else "missed")[text] for met, text in self.verdicts)
        return compose_section("expectations", "Expectations", ul[lines])

    def _compose_recording(self) -> Node:
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
            "Seconds of the session; each voice is scaled to its loudest sample. "
            "Marks are from the session's timeline, the waveform from its recording."
        ]
        return compose_section("recording", "Recording", player, picture, note)

    def _compose_latency(self, measured: Sequence[Mapping[str, Any]]) -> Node:
        head, *rows = list_percentiles(
            self.measured.turns, self.measured.summary, self.measured.profile.budgets
        )
        named: list[list[Node]] = [[_indent(row[0]), *row[1:]] for row in rows]
        table = compose_table(head, named, kind="numbers")
        if not measured:
            nothing = p["No turn was measured: no mouth-to-ear, no picture."]
            return compose_section("latency", "Mouth-to-ear", nothing)
        names = [f"#{turn['turn']}" for turn in measured]
        budget = ms(self.measured.profile.budgets.total)
        values = [turn["mouth_to_ear_ms"] for turn in measured]
        samples = [Sample(name="measured", values=values, origins=names)]
        if self.baseline:
            samples.append(Sample(name="baseline", values=self.baseline))
        lines = [Line(name="budget", value=budget), *self._list_predicted()]
        return compose_section(
            "latency",
            "Mouth-to-ear",
            p(".note")[
                "From the end of the user's voice to the first audible sample of the reply."
            ],
            h3["Where the time of each turn went"],
            draw_stacks(measured, names, budget),
            h3["Distribution"],
            draw_ecdf(samples, lines),
            h3["Percentiles"],
            table,
            [p(".note")[note] for note in PERCENTILE_NOTES],
        )

    def _list_predicted(self) -> list[Line]:
        predicted = self.predicted or {}
        found = {name: predicted.get(f"{name}_ms") for name in ("p50", "p95")}
        return [
            Line(name=f"predicted {name.upper()}", value=value, kind="predicted")
            for name, value in found.items()
            if value is not None
        ]

    def _compose_prediction(self, measured: Sequence[Mapping[str, Any]]) -> Node:
        """Predicted against measured: percentiles, and the means of the stages, which add up."""
        if self.predicted is None or not measured:
            return None
        found = self.measured.summary.distributions[MOUTH_TO_EAR.name]
        rows: list[list[Node]] = [
            [
                f"{MOUTH_TO_EAR.name} {name.upper()}",
                _show(self.predicted.get(f"{name}_ms")),
                _show(value and ms(value)),
                _show_difference(self.predicted.get(f"{name}_ms"), value and ms(value)),
            ]
            for name, value in (("p50", found.p50), ("p95", found.p95))
        ]
        means = _find_means(measured)
        stages = self.predicted.get("mean_stages_ms") or {}
        rows += [
            [
                _indent(f"  {name}"),
                _show(stages.get(name)),
                _show(means["stages_ms"].get(name)),
                _show_difference(stages.get(name), means["stages_ms"].get(name)),
            ]
            for name in STAGES
            if stages.get(name) or means["stages_ms"].get(name)
        ]
        pair = [means] if not stages else [_make_turn(stages, means["drafted"]), means]
        names = ["measured"] if not stages else ["predicted", "measured"]
        samples = sanitize_line(str(self.predicted.get("n", "?")))
        conditions = (
            f"Measured: n = {found.n}. Predicted from a probe with n = {samples}. "
            "Indented: means of the stages, which add up to the mean of mouth-to-ear."
        )
        return compose_section(
            "prediction",
            "Predicted against measured",
            draw_stacks(pair, names, None),
            compose_table(["ms", "predicted", "measured", "difference"], rows, kind="numbers"),
            p(".note")[conditions],
        )

    def _compose_turns(self, encoded: Sequence[Mapping[str, Any]]) -> Node:
        if not encoded:
            return compose_section("turns", "Turns", p["No turn was committed."])
        is_open = len(encoded) <= OPEN_TURNS
        starts = {mark.turn: mark.start for mark in self.marks if mark.kind == "turn"}
        plays = self.recording is not None and self.recording.sound is not None
        shown = []
        for turn, one in zip(self.measured.turns, encoded, strict=True):
            at = max(starts.get(turn.turn, turn.at) - LEAD, 0.0) if plays else None
            shown.append(self._compose_turn(turn, one, at, is_open))
        return compose_section("turns", "Turns", shown)

    def _compose_turn(
        self, turn: Turn, encoded: Mapping[str, Any], at: Seconds | None, is_open: bool
    ) -> Element:
        total = encoded["mouth_to_ear_ms"]
        marks = list_turn_marks(turn, self.measured.profile.budgets)
        play = button(type="button", data_at=f"{at:.2f}")["▶ play"] if at is not None else None
        return details(".turn", id=f"turn-{turn.turn}", open=is_open, data_print=True)[
            summary_element[
                b[f"#{turn.turn}"],
                span(".total")[f"{total:.0f} ms" if total else "not measured"],
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

    def _compose_ledger(self) -> Element:
        counts = {name: getattr(self.measured.usage, name) for name in COUNTS}
        rows = [
            [compose_name(name), _show_count(count), COUNTS[name]]
            for name, count in counts.items()
            if count
        ]
        return compose_section(
            "session",
            "Session",
            compose_table(["count", "value", "meaning"], rows),
            p(".note")[format_cost(self.measured.cost)],
        )


def _indent(name: str) -> Node:
    """Return the name of a metric; two blanks before it become a space of the page's."""
    return (
        span(style="padding-left: 1rem")[compose_name(name)]
        if name[0] == " "
        else compose_name(name)
    )


def _find_means(measured: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the means of the stages, which sum to the mean of mouth-to-ear."""
    means = {
        name: sum(turn["stages_ms"].get(name) or 0.0 for turn in measured) / len(measured)
        for name in STAGES
    }
    return _make_turn(means, any(turn["drafted"] for turn in measured))


def _make_turn(stages: Mapping[str, float], drafted: bool) -> dict[str, Any]:
    total = sum(stages.values())
    return {"mouth_to_ear_ms": total, "stages_ms": stages, "raw_ms": {}, "drafted": drafted}


def _show(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"


def _show_difference(predicted: float | None, measured: float | None) -> str:
    if predicted is None or measured is None:
        return "–"
    return f"{measured - predicted:+.0f}"


def _show_count(count: float) -> str:
    return f"{count:g}" if isinstance(count, int) else f"{count:.2f}"
