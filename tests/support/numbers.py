"""Numbers in words."""

from __future__ import annotations

SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"


def spell(number: int) -> str:
    """Spell ``number`` in words, as English speakers do."""
    for scale, name in ((10**6, "million"), (1000, "thousand"), (100, "hundred")):
        if number >= scale:
            rest = f" {spell(number % scale)}" if number % scale else ""
            return f"{spell(number // scale)} {name}{rest}"
    small, tens = SMALL.split(), TENS.split()
    if number < 20:
        return small[number]
    return tens[number // 10 - 2] + (f" {small[number % 10]}" if number % 10 else "")
