"""Has the scripted STT hear a recording's labels, so that its pauses fall where the words say.

A script's own texts are whole sentences, whatever was said; a policy that waits longer after "and"
than after a full stop would have nothing to show.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from voicecli.metrics.labels import Kind, Labels, Span
from voicecli.units import Seconds

if TYPE_CHECKING:
    from voicecli.standin.script import Script

GAP: Seconds = 0.2
"""The shortest pause that has a label."""

WITH_PAUSES: tuple[Kind, ...] = ("turn", "interruption")


def hear_labels(script: Script, labels: Labels) -> Script:
    """Return ``script`` with the labels' words as what is heard, an item for each stretch of voice.

    The words of a turn are divided where "…" marks its pauses, or else in proportion to the lengths
    of its stretches.  Unchanged where no turn has words.
    """
    voiced = [span for span in labels.spans if span.kind != "pause"]
    if not any(span.text for span in voiced if span.kind in WITH_PAUSES):
        return script
    pauses = [span for span in labels.list_spans("pause") if span.end - span.start >= GAP]
    stretches = sorted(piece for span in voiced for piece in _split_span(span, pauses))
    heard: list[tuple[Seconds, str]] = []  # end, words; what is closer than GAP is one item
    for start, end, words in stretches:
        if heard and start - heard[-1][0] < GAP:
            last_end, before = heard.pop()
            words, end = f"{before} {words}".strip(), max(end, last_end)
        heard.append((end, words))
    stt = replace(script.stt, hears=tuple(words for _, words in heard), gap=GAP)
    return replace(script, stt=stt)


def _split_span(span: Span, pauses: list[Span]) -> list[tuple[Seconds, Seconds, str]]:
    """Split a span at its pauses: start, end and words of each stretch of voice."""
    within = [one for one in pauses if span.start < one.start and one.end < span.end]
    if span.kind not in WITH_PAUSES or not within:
        return [(span.start, span.end, span.text)]
    starts = [span.start, *(one.end for one in within)]
    ends = [*(one.start for one in within), span.end]
    lengths = [end - start for start, end in zip(starts, ends, strict=True)]
    return list(zip(starts, ends, _split_text(span.text, lengths), strict=True))


def _split_text(text: str, lengths: list[Seconds]) -> list[str]:
    """Divide the text of a turn among its stretches of voice."""
    marked = [part.strip() for part in text.split("…")]
    if len(marked) == len(lengths):
        return marked
    words = text.replace("…", " ").split()
    shares = [part / sum(lengths) for part in accumulate(lengths)]
    cuts = [0, *(round(share * len(words)) for share in shares)]
    return [" ".join(words[first:last]) for first, last in pairwise(cuts)]
