"""The pictures of the README: ``python -m tests.pictures`` draws them into ``.github``.

Both are pure functions of a scripted timeline, so that a test can compare them with the files.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.text import Text

from tests.support.live_screens import Paper, play, window
from tests.support.terminals import painted
from tests.support.timelines import OPENED, Exchange
from voicecli import clock
from voicecli.events import InterimTranscript, SpeechStarted
from voicecli.metrics.summary import Budgets
from voicecli.metrics.turns import measure_turns
from voicecli.profile import load_profile
from voicecli.report.html.waterfall import render_turn
from voicecli.report.json_result import encode_turn
from voicecli.terminal.keys import SPEAKING_KEYS
from voicecli.terminal.screen import Screen
from voicecli.units import AudioBlock

FOLDER = Path(__file__).parents[1] / ".github"
COLUMNS, ROWS = 88, 24

CONVERSATION = [
    Exchange(
        text="What is the capital of Italy?",
        stop=0.1,
        final=0.08,
        commit=0.32,
        reason="complete",
        ttft=0.18,
        clause=0.09,
        ttfb=0.12,
        lead=0.012,
        said="Rome is the capital of Italy.",
        heard=2.1,
    ),
    Exchange(
        number=2,
        start=5.0,
        text="Tell me how old the city is, please.",
        stop=0.1,
        final=0.08,
        commit=0.32,
        reason="complete",
        ttft=0.74,
        clause=0.09,
        ttfb=0.11,
        lead=0.012,
        said="By tradition it was founded in 753 BC,",
        heard=2.4,
        ends="interrupted",
    ),
]


def draw_live_screen() -> str:
    """Return the live screen in the middle of a conversation, as SVG."""
    paper = Paper()
    loud = AudioBlock((np.ones(320, "<i2") * 3000).tobytes(), 0.0)

    async def main(terminal: int) -> None:
        budgets = load_profile("default").budgets
        screen = Screen(paper, terminal, budgets, heard=str, keys=SPEAKING_KEYS)
        with screen:
            entries = [entry for exchange in CONVERSATION for entry in exchange.entries()]
            await play(screen, [*OPENED, *entries])
            begin = clock.now()
            words = InterimTranscript(
                at=begin + 1.0,
                text="And who lived there before",
                speech_start=begin,
                speech_end=begin + 0.9,
            )
            await play(screen, [SpeechStarted(at=begin + 0.1, speech_start=begin), words])
            screen.feed(loud)
            await asyncio.sleep(1.0)
            shown.extend(painted("".join(paper.written), COLUMNS, ROWS))

    shown: list[str] = []
    with window(COLUMNS, ROWS) as terminal:
        clock.run(main(terminal), virtual=True)
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for line in shown:
        console.print(Text.from_ansi(line), soft_wrap=True)
    svg = console.export_svg(title="voicecli talk", unique_id="live")
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def draw_turn() -> str:
    """Return the waterfall of the first turn, as SVG."""
    (turn,) = measure_turns(CONVERSATION[0].entries())
    return render_turn(encode_turn(turn, Budgets()))


PICTURES: dict[str, Callable[[], str]] = {"live.svg": draw_live_screen, "turn.svg": draw_turn}


def main() -> None:
    """Draw all pictures."""
    FOLDER.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        (FOLDER / name).write_text(draw(), encoding="utf-8")
        print(FOLDER / name)


if __name__ == "__main__":
    main()
