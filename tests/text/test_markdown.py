"""Which part of an LLM's Markdown is spoken."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from voicecli.text.markdown import MarkdownFilter
from voicecli.text.words import find_words

UNHURRIED = settings(deadline=None)  # the machine may be busy

LONGEST_HOLD = 120

MARKDOWN = st.lists(
    st.sampled_from(
        [
            *"*_~`#-=>|[]()!\\<>/.:,? \n\r\t123aBhtw",
            "word",
            "https://",
            "www.",
            "a.com",
            "```",
            "**",
            "<br>",
            "](",
            "😀",
            "\u200d",
            "\x1b",
            "。",
            "é",
            *"$^{}@&;²×→【】†ツ",
            "laughs",
            "[^1]",
            "\\frac",
            "\\(",
            "\\]",
            "&amp;",
            "\ue200",
            "text\n",
            "(^_^)",
        ]
    ),
    max_size=40,
).map("".join)

PLAIN = st.lists(st.from_regex(r"[a-zA-Z]{1,9}[,.!?;]?", fullmatch=True), min_size=1, max_size=20)


def speakable(*tokens: str) -> str:
    text = MarkdownFilter()
    return "".join([*map(text.push, tokens), text.finish()])


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        # emphasis
        ("**Sure!** I *can* do __that__ for ~~you~~.", "Sure! I can do that for you."),
        ("***Both*** and _one_, wo**rd**s.", "Both and one, words."),
        ("a * b, snake_case, a ~ b", "a * b, snake_case, a ~ b"),
        (r"\*not\* that \_either\_", "*not* that _either_"),
        # blocks
        ("# Weather\nIt is sunny.", "Weather. It is sunny."),
        ("Title\n=====\nText\n\n---\n\nMore", "Title. Text. More"),
        ("- Milk\n* **Eggs**\n- [ ] Bread\n\nDone.", "Milk. Eggs. Bread. Done."),
        ("You need:\n• Milk!\n• Eggs\n", "You need: Milk! Eggs. "),
        ("Shopping\n- Milk", "Shopping. Milk"),
        ("1. Open it\n2. Close it\n", "1. Open it. 2. Close it. "),
        ("5. Anything else?", "5. Anything else?"),
        ("42", "42"),
        ("-5 degrees", "-5 degrees"),
        ("> quoted\n> text", "quoted text"),
        ('One\n\nTwo "yes."\n\n(three)\n\nfour', 'One. Two "yes." (three). four'),
        ("| Name | Age |\n|:--|---|\n| Bob | -5 |\nEnd", "Name, Age. Bob, -5. End"),
        ("a | b\n--- | ---\n1 | 2\n", "a, b. 1, 2. "),
        # code
        ("Run `a_b *x*` now", "Run a_b *x* now"),
        ("See\n```python title='*x*'\nprint(1)\n````\nDone", "See. There is some code. Done"),
        ("~~~md\nDear *x*\n~~~\nDone", "Dear *x*. Done"),
        ("```x``` y", "x y"),
        ("```\nnever *closed*", "There is some code. "),
        # links
        ('See [the *docs*](https://a.b/c_(d) "Title") now.', "See the docs now."),
        ("See [it](https://a.b/c_(d)).", "See it."),
        ("![A cat](http://x.y/z.png) Hello!", "A cat Hello!"),
        ("as [1] says [here]", "as says here"),
        ("[laughs](a.b) [12](a.b/c_(d)) ok", "laughs ok"),
        ("Visit https://www.example.com/path?x=1. Then", "Visit example dot com. Then"),
        ("Go to <https://my-site.co.uk>, ok", "Go to my-site dot co dot uk, ok"),
        ("(see www.foo.com/a,b)!", "(see foo dot com)!"),
        ("Is it HTTPS://a.com? Or http://b.com:80: no", "Is it a dot com? Or b dot com: no"),
        ("请看https://example.com。谢谢", "请看example dot com。谢谢"),
        ("Write to bob@a-b.co.uk about http.", "Write to bob at a-b dot co dot uk about http."),
        ("Ask @bob, at 5 @ noon.", "Ask @bob, at 5 @ noon."),
        ("See [docs][1].\n\n[1]: https://a.b/c\nOk", "See docs. Ok"),
        ("<summary>More</summary>One\\\nTwo", "More One Two"),
        # formulas
        (
            "a^2 + b^3 = c^10, 2^22, ^2",
            "a squared + b cubed = c to the power of 10, 2 to the power of 22, ^2",
        ),
        (
            r"\(\dfrac{x+1}{2} - \sqrt{y} < 90^\circ\)!",
            "x plus 1 over 2 minus the square root of y is less than 90 degrees!",
        ),
        (
            r"\(x^{2} + y^3 + z^{10} + a^n\)",
            "x squared plus y cubed plus z to the power of 10 plus a to the power of n",
        ),
        (
            "$$\n\\begin{aligned} a &= b \\\\ c &= \\text{so} \\end{aligned}\n$$\nOk",
            "a equals b, c equals so. Ok",
        ),
        ("\\[ never\nclosed - a\n\n*Ok*", "never, closed minus a. Ok"),
        ("$x and $5 - 3$ left", "$x and $5 - 3$ left"),
        # tags
        ("H<sub>2</sub>O<br/>is <b class='x'>wet</b><!-- x -->", "H2O is wet"),
        ("a < b, x<y, 5 <6 and I <3 it", "a < b, x<y, 5 <6 and I <3 it"),
        # characters
        ("Great 😀! Hi😀there 👨\u200d👩\u200d👧 ok 1\ufe0f\u20e3 🇩🇪", "Great! Hi there ok 1"),
        ("a\x07b\u200bc\ud800d\x00", "abcd"),
        ("  a \t b\u00a0\r\nc  ", "a b c"),
        ("20 °C, 5 % – naïve, 10 €", "20 °C, 5 % – naïve, 10 €"),
        ("", ""),
        (" \n😀\n", ""),
    ],
)
def test_what_is_spoken(written: str, spoken: str):
    assert speakable(written) == spoken


@UNHURRIED
@given(MARKDOWN, st.data())
def test_tokens_may_be_cut_anywhere(written: str, data: st.DataObject):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(written)))))
    tokens = [
        written[start:end] for start, end in zip([0, *cuts], [*cuts, len(written)], strict=True)
    ]
    assert speakable(*tokens) == speakable(written)


@UNHURRIED
@given(PLAIN, st.sampled_from([" ", "  ", "\t", "\n", " \r\n"]))
def test_plain_text_stays(plain: list[str], space: str):
    assert speakable(space.join(plain)) == " ".join(plain)


@UNHURRIED
@given(MARKDOWN)
def test_what_is_spoken_is_clean(written: str):
    spoken = speakable(written)
    assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs") for character in spoken)
    assert "  " not in spoken
    assert not spoken.startswith(" ")


@UNHURRIED
@given(st.lists(st.sampled_from([*"*_~`#->|[]!\\<. \n", "word"]), max_size=40).map("".join))
def test_unfinished_markdown_costs_no_word(written: str):
    # Where a tag may not begin: "<word>" is one.
    written = written.replace("<word", "< word").replace("<!", "< ")
    written = re.sub("`{3,}|~{3,}", "`", written)  # no block of code
    written = written.replace("\\[", "[")  # no formula
    assert speakable(written).count("word") == written.count("word")


@UNHURRIED
@given(MARKDOWN)
@example("<" + "a " * 200)
@example("x" * 300)
@example("#" * 300)
@example("`" * 300 + "a" * 300)
@example("https://" + "a." * 200)
@example("[" * 300)
@example("- " * 200)
def test_little_is_held_back(written: str):
    text = MarkdownFilter()
    for character in written:
        text.push(character)
    assert len(text.finish()) <= LONGEST_HOLD


@pytest.mark.parametrize(
    "written", ["Sure", "Sure, I", "**Sure.**\n", "It is 5", "Sure! ", "a.com/x", "Hi -"]
)
def test_plain_words_are_not_held_back(written: str):
    text = MarkdownFilter()
    assert text.push(written) == speakable(written)


def test_a_space_after_a_mark_is_known_at_once():
    text = MarkdownFilter()
    assert text.push("Sure. ") == "Sure. "
    assert text.push("I can ") == "I can"
    assert text.push("do") == " do"


@pytest.mark.parametrize(
    ("language", "spoken"),
    [
        ("de", "bob at a Punkt de, 2 mal 3 gleich 6. Hier steht Code. "),
        ("es", "bob arroba a punto de, 2 por 3 igual a 6. Aquí hay código. "),
        ("fr", "bob arobase a point de, 2 fois 3 égale 6. Il y a du code. "),
        ("it", "bob chiocciola a punto de, 2 per 3 uguale a 6. Qui c'è del codice. "),
        ("nl", "bob apenstaartje a punt de, 2 keer 3 is 6. Hier staat code. "),
        ("ja", "bob アット a ドット de, 2 かける 3 イコール 6. コードがあります. "),
        ("xx", "bob at a dot de, 2 times 3 equals 6. There is some code. "),
    ],
)
def test_words_are_those_of_the_voice(language: str, spoken: str):
    text = MarkdownFilter(find_words(language))
    assert text.push(r"bob@a.de, \(2 \times 3 = 6\)" + "\n```sh\nls\n```") + text.finish() == spoken
