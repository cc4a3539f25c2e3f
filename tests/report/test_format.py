"""Numbers as they are printed."""

from __future__ import annotations

from math import fsum

from hypothesis import given
from hypothesis import strategies as st

from voicecli.report.format import format_count, format_counts, format_table, round_parts, to_ms
from voicecli.sanitize import sanitize_line


@given(st.lists(st.floats(0, 10), min_size=1, max_size=7))
def test_rounded_parts_sum_to_the_rounded_whole_and_are_near(parts: list[float]):
    named = {str(index): part for index, part in enumerate(parts)}
    whole = round_parts(named, fsum(parts), per_second=1000)
    assert abs(sum(whole.values()) - fsum(parts) * 1000) <= 0.5 + 1e-6
    assert all(abs(whole[name] - part * 1000) <= 1 for name, part in named.items())


def test_words_and_numbers():
    assert sanitize_line(" a\n\x1b[31mb\u200b  c ") == "a b c"
    assert to_ms(0.1 + 0.2) == 300.0
    assert to_ms(None) is None
    assert format_counts({"a": 1, "b": 0, "c": 2}) == "1 a, 2 c"
    assert format_table([["a", "1"], ["bb", "22"], ["c", ""]]) == ["a    1", "bb  22", "c"]


def test_a_count_agrees_with_its_noun():
    nouns = ["requests", "flushes", "retries", "turns", "prompt tokens"]
    assert [format_count(1, noun) for noun in nouns] == [
        "1 request",
        "1 flush",
        "1 retry",
        "1 turn",
        "1 prompt token",
    ]
    assert [format_count(2, noun) for noun in nouns] == [f"2 {noun}" for noun in nouns]
    assert format_count(1, "answered") == "1 answered"
