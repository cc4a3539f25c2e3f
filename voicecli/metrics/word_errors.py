"""Compares a session's transcripts with the texts of the labels."""

from __future__ import annotations

from collections.abc import Iterable

from voicecli.events import FinalTranscript
from voicecli.metrics.interaction import WordErrors
from voicecli.metrics.labels import Labels
from voicecli.timeline import Entry
from voicecli.turns.end_of_turn import split_words


def find_word_errors(
    timeline: Iterable[Entry], labels: Labels | None, *, mixed: bool = False
) -> tuple[tuple[WordErrors, ...], str]:
    """Count the words that differ; without texts to compare, return why.

    The final transcripts are compared with the texts of all that the user says: case, punctuation
    and hyphens do not count.

    mixed: another party, whose words the labels do not have, is heard, too.
    """
    if labels is None:
        return (), "needs labels"
    if mixed or labels.list_spans("background"):
        return (), "the transcripts may have another person's words, too"
    spoken = labels.list_spans("turn", "interruption", "backchannel", "other")
    if not spoken or not all(span.text for span in spoken):
        return (), "needs the text of every label with speech"
    import jiwer  # 0.1 s

    reference = [word for span in spoken for word in split_words(span.text)]
    finals = [entry.text for entry in timeline if isinstance(entry, FinalTranscript)]
    heard = [word for text in finals for word in split_words(text)]
    if not reference:
        return (), "the labels have no words"
    found = jiwer.process_words(" ".join(reference), " ".join(heard))
    differences = tuple(
        (
            " ".join(reference[chunk.ref_start_idx : chunk.ref_end_idx]),
            " ".join(heard[chunk.hyp_start_idx : chunk.hyp_end_idx]),
        )
        for chunk in found.alignments[0]
        if chunk.type != "equal"
    )
    wrong = found.substitutions + found.deletions + found.insertions
    return (WordErrors(words=len(reference), wrong=wrong, differences=differences),), ""
