"""Replies that are not plain prose: everything gets a spoken form, a short mention, or none."""

from __future__ import annotations

import pytest

from tests.wild import Case
from tests.wild.spoken import Row, speak

ROWS = [
    Row(
        "code block",
        "Here it is:\n```python\nprint('x')\n```\nRun it.",
        "Here it is: print('x'). Run it.",
        "Here it is: There is some code. Run it.",
    ),
    Row(
        "code block, unlabelled",
        "Try this.\n```\nls -l\n```",
        "Try this. ls -l",
        "Try this. There is some code.",
    ),
    Row(
        "code block, cut off",
        "Try this.\n```bash\nls -l | gr",
        "Try this. ls -l | gr",
        "Try this. There is some code.",
    ),
    Row(
        "prose in a fence",
        "```text\nDear Bob,\nhello.\n```",
        "Dear Bob, hello.",
        "Dear Bob, hello.",
    ),
    Row("inline code", "Run `git pull` now.", "Run git pull now.", "Run git pull now."),
    Row(
        "table",
        "| Day | Sun |\n|---|---|\n| Mon | 5 h |\n",
        "Day, Sun. Mon, 5 h.",
        "Day, Sun. Mon, 5 h.",
    ),
    Row(
        "numbered list",
        "1. Open it\n2. Close it\n",
        "1. Open it. 2. Close it.",
        "1. Open it. 2. Close it.",
    ),
    Row(
        "heading, ruler",
        "# Now\nIt is noon.\n\n---\n\nBye.",
        "Now. It is noon. Bye.",
        "Now. It is noon. Bye.",
    ),
    Row("highlight", "It is ==very== hot.", "It is ==very== hot.", "It is very hot."),
    Row(
        "e-mail address",
        "Write to bob@example.com today.",
        "Write to bob@example.com today.",
        "Write to bob at example dot com today.",
    ),
    Row(
        "e-mail address, mailto",
        "Write to [Bob](mailto:bob@example.com).",
        "Write to Bob.",
        "Write to Bob.",
    ),
    Row(
        "URL", "See https://www.example.com/a?b=c.", "See example dot com.", "See example dot com."
    ),
    Row(
        "HTML entity",
        "Tom &amp; Ann&nbsp;say &quot;hi&quot; &#128512; &#x27;now&#x27;.",
        "Tom &amp; Ann&nbsp;say &quot;hi&quot; &#128512; &#x27;now&#x27;.",
        "Tom & Ann say \"hi\" 'now'.",
    ),
    Row("not an entity", "AT&T and R&D; a & b.", "AT&T and R&D; a & b.", "AT&T and R&D; a & b."),
    Row(
        "footnote",
        "It is noon[^1].\n\n[^1]: By the clock.\n",
        "It is noon^1. ^1: By the clock.",
        "It is noon.",
    ),
    Row(
        "citation",
        "It is noon [1], they say [2, 3].",
        "It is noon 1, they say 2, 3.",
        "It is noon, they say.",
    ),
    Row(
        "citation, linked",
        "It is noon [1](https://a.b/c). Or [[2]](https://a.b).",
        "It is noon 1. Or 2.",
        "It is noon. Or.",
    ),
    Row("citation 【】", "It is noon【4:1†source】.", "It is noon【4:1†source】.", "It is noon."),
    Row(
        "citation, ChatGPT",
        "It is noon \ue200cite\ue202turn0search0\ue201.",
        "It is noon citeturn0search0.",
        "It is noon.",
    ),
    Row(
        "LaTeX",
        "It is \\( \\frac{a}{b} = \\sqrt{2} \\cdot x^2 \\).",
        "It is ( \\frac{a}{b} = \\sqrt{2} \\cdot x^2 ).",
        "It is a over b equals the square root of 2 times x squared.",
    ),
    Row(
        "LaTeX, displayed",
        "So:\n\\[ E = mc^2 \\]\nThat is it.",
        "So: [ E = mc^2 ] That is it.",
        "So: E equals mc squared. That is it.",
    ),
    Row(
        "LaTeX, dollars",
        "Then $x^{10} \\leq \\pi$ and $$a_1 \\times 3$$ hold.",
        "Then $x^{10} \\leq \\pi$ and $$a_1 \\times 3$$ hold.",
        "Then x to the power of 10 is at most pi and a 1 times 3 hold.",
    ),
    Row(
        "prices",
        "It costs $5 or $10, in $US.",
        "It costs $5 or $10, in $US.",
        "It costs $5 or $10, in $US.",
    ),
    Row(
        "symbols",
        "3 × 4 ≈ 12, 5 ≥ 2, ±1, 4 m² and √9.",
        "3 × 4 ≈ 12, 5 ≥ 2, ±1, 4 m² and √9.",
        (
            "3 times 4 about 12, 5 is at least 2, plus or minus 1, 4 m squared and the squa"
            "re root of 9."
        ),
    ),
    Row(
        "arithmetic",
        "3 * 4 and 2*6, 2**3, ~5 km",
        "3 * 4 and 2*6, 2**3, ~5 km",
        "3 times 4 and 2 times 6, 2 to the power of 3, about 5 km",
    ),
    Row(
        "arrows",
        "Settings → Network -> Wi-Fi => on",
        "Settings → Network -> Wi-Fi => on",
        "Settings, Network - Wi-Fi, on",
    ),
    Row(
        "action",
        "*laughs* Sure. *sighs softly* Well.",
        "laughs Sure. sighs softly Well.",
        "Sure. Well.",
    ),
    Row(
        "action in brackets",
        "Sure (chuckles), it is noon [pauses].",
        "Sure (chuckles), it is noon pauses.",
        "Sure, it is noon.",
    ),
    Row(
        "emphasis",
        "That *is* good, and *laughable*.",
        "That is good, and laughable.",
        "That is good, and laughable.",
    ),
    Row("emoticon", "Sure :) It is noon ;-) ok", "Sure :) It is noon ;-) ok", "Sure It is noon ok"),
    Row("kaomoji", "Hi (^_^) there ¯\\_(ツ)_/¯ ok", "Hi (^^) there ¯_(ツ)/¯ ok", "Hi there ok"),
    Row("emoji", "Great 😀! It is 🇩🇪 noon.", "Great! It is noon.", "Great! It is noon."),
    Row(
        "control tokens",
        "<|begin_of_solution|>It is noon.<|end_of_box|>",
        "<, begin_of_solution, >It is noon.<, end_of_box, >",
        "It is noon.",
    ),
    Row(
        "left to the voice",
        "On 3/4/2026 at 10:30 p.m., 5 km, 20 °C, 10 €, +1 555 0100, /etc/hosts, e.g.",
        "On 3/4/2026 at 10:30 p.m., 5 km, 20 °C, 10 €, +1 555 0100, /etc/hosts, e.g.",
        "On 3/4/2026 at 10:30 p.m., 5 km, 20 °C, 10 €, +1 555 0100, /etc/hosts, e.g.",
    ),
]

CASES = [Case("prose", row.name, f'says "{row.before}"', f'says "{row.after}"') for row in ROWS]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_is_spoken(row: Row):
    assert speak(row.written) == (row.after, bool(row.after))
