"""What the users of the benchmarks say, and what the agent answers."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tests.bench.user import Sentence

WHOLE = (
    "What is the weather like today?",
    "Tell me something about the history of Lisbon.",
    "Who wrote that book?",
    "I need a taxi for tomorrow morning.",
    "How long does it take to boil an egg?",
    "Set a timer for ten minutes.",
    "Is the museum open on Sundays?",
    "That sounds good to me.",
    "Yes, please.",
    "I have never been to that place.",
)
"""Complete sentences without a pause."""

PAUSED = (
    ("I would like to book a table for", "four people on Friday evening."),
    ("Could you tell me", "when the next train leaves?"),
    ("My number is five five five", "two three six eight."),
    ("I was thinking about", "maybe going to the mountains instead."),
    ("What I really want to know is", "whether it will rain."),
    ("Please remind me to call my mother", "and to buy some milk."),
    ("The hotel was nice, but", "the breakfast was not very good."),
    ("Let me see, um", "the second one, I think."),
    ("We need two rooms", "for three nights", "with a view of the sea."),
    ("So the meeting on Monday", "can it be moved to Tuesday?"),
    ("I went to the market yesterday.", "And the fish was terrible."),
    ("Turn on the lights in the kitchen.", "And in the hall."),
)
"""Sentences with pauses.  Before a pause stands a word that needs another (six of them), a comma or
digits, nothing conclusive (four), or a full stop though the user goes on (two)."""

SAYS = (
    "Sure, I can do that. It will take a moment until all of the details have been confirmed.",
    "It is sunny today, with a light wind from the west that will calm down by the evening.",
    "Good question. The answer depends a little on what you had in mind, but mostly it is yes.",
    "I think so, although I would have to look at the calendar before I can promise you anything.",
    "That is done. You will find a short note about it among the messages of this afternoon.",
    "About ten minutes, if the water boils already when you begin and the pot is not too small.",
    "The first one leaves at noon. There is another one an hour later from the other platform.",
    "No, not on Sundays. On all other days it opens at nine in the morning and closes at six.",
    "Of course, happy to help. Which of the two dates would suit you better for the longer visit?",
    "There are several of them nearby, and the one in the old town is said to be the best of all.",
)
"""First sentences or clauses of two to eight words, as the system prompt asks; 90 characters."""

FIXED_FIRST = 13
"""Tokens in each first sentence below."""

FIXED_SAYS = (
    "It is sunny today, with a light wind from the west that calms. Tomorrow it rains.",
    "Your first question is well noted and I will look into it now. Please wait.",
    "Yes, it is open, from nine in the morning until six at night. Not on Mondays.",
    "I like that place too because it is quiet and close to town. Try it.",
    "There is one in the old town, and another one by the river. Have a look.",
    "The next train leaves at noon but it is always late on Fridays. Then hourly.",
)
"""Half of the first sentences have a comma, half have none but a conjunction."""


def choose_sentences(count: int, seed: int, *, paused: float = 0.5) -> list[Sentence]:
    """Choose ``count`` sentences, a share ``paused`` with pauses of 0.3 to 0.6 s in 20 ms steps."""
    rng = random.Random(f"sentences {seed}")
    said = []
    for _ in range(count):
        if rng.random() < paused:
            parts = rng.choice(PAUSED)
            pauses = tuple(rng.randrange(15, 31) * 0.02 for _ in parts[1:])
            said.append(Sentence(parts, pauses))
        else:
            said.append(Sentence((rng.choice(WHOLE),)))
    return said


def list_parts(said: Sequence[Sentence]) -> tuple[str, ...]:
    """Return the parts in order, as the STT's script needs them."""
    return tuple(part for sentence in said for part in sentence.parts)
