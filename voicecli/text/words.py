"""The words for what is written but not spoken as it stands, in the languages of the voices.  Pure.

Dates, times, currencies and alphanumeric strings are not among them: Aura-2 reads those
(https://docs.aimlapi.com/api-references/speech-models/text-to-speech/deepgram/aura-2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_SYMBOLS = (
    ("×", "times", "cdot", "ast"),
    ("÷", "div"),
    ("±", "pm"),
    ("≈", "approx", "sim"),
    ("≠", "neq", "ne"),
    ("≤", "leq", "le"),
    ("≥", "geq", "ge"),
    ("=",),
    ("+",),
    ("-", "−"),
    ("<", "lt"),
    (">", "gt"),
    ("√",),
    ("∞", "infty"),
    ("∑", "sum"),
    ("∫", "int"),
    ("→", "to", "rightarrow"),
    ("circ", "degree"),
)
"""The symbols and LaTeX commands that ``_words`` takes the words for, in this order."""

_GREEK = {
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "δ": "delta",
    "Δ": "delta",
    "ε": "epsilon",
    "θ": "theta",
    "λ": "lambda",
    "μ": "mu",
    "π": "pi",
    "σ": "sigma",
    "φ": "phi",
    "ω": "omega",
    "Ω": "omega",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenWords:
    """The words of one language.

    dot, at: within addresses.
    code: a sentence, without its full stop, in the place of a block of code.
    squared, cubed: after a number; power: between a number and its exponent.
    root: before the number; over: between the parts of a fraction.
    symbols: by symbol or name of a LaTeX command; Greek letters are called by their names.
    """

    dot: str
    at: str
    code: str
    squared: str
    cubed: str
    power: str
    root: str
    over: str
    symbols: Mapping[str, str]


def _words(addresses: str, code: str, powers: str, fractions: str, symbols: str) -> SpokenWords:
    """Create the words from lists with commas, in the order of the fields and of ``_SYMBOLS``."""
    dot, at = addresses.split(", ")
    squared, cubed, power = powers.split(", ")
    root, over = fractions.split(", ")
    spoken = zip(_SYMBOLS, symbols.split(", "), strict=True)
    return SpokenWords(
        dot=dot,
        at=at,
        code=code,
        squared=squared,
        cubed=cubed,
        power=power,
        root=root,
        over=over,
        symbols={name: word for names, word in spoken for name in names} | _GREEK,
    )


ENGLISH = _words(
    "dot, at",
    "There is some code",
    "squared, cubed, to the power of",
    "the square root of, over",
    "times, divided by, plus or minus, about, is not, is at most, is at least, equals, plus, "
    "minus, is less than, is greater than, the square root of, infinity, the sum of, the integral "
    "of, to, degrees",
)

_LANGUAGES = {
    "en": ENGLISH,
    "de": _words(
        "Punkt, at",
        "Hier steht Code",
        "zum Quadrat, hoch drei, hoch",
        "Wurzel aus, durch",
        "mal, geteilt durch, plus minus, ungefähr, ungleich, höchstens, mindestens, gleich, plus, "
        "minus, kleiner als, größer als, Wurzel aus, unendlich, Summe, Integral, nach, Grad",
    ),
    "es": _words(
        "punto, arroba",
        "Aquí hay código",
        "al cuadrado, al cubo, elevado a",
        "raíz de, sobre",
        "por, dividido por, más menos, aproximadamente, distinto de, como máximo, como mínimo, "
        "igual a, más, menos, menor que, mayor que, raíz de, infinito, suma, integral, a, grados",
    ),
    "fr": _words(
        "point, arobase",
        "Il y a du code",
        "au carré, au cube, puissance",
        "racine de, sur",
        "fois, divisé par, plus ou moins, environ, différent de, au plus, au moins, égale, plus, "
        "moins, inférieur à, supérieur à, racine de, infini, somme, intégrale, vers, degrés",
    ),
    "it": _words(
        "punto, chiocciola",
        "Qui c'è del codice",
        "al quadrato, al cubo, elevato a",
        "radice di, fratto",
        "per, diviso, più o meno, circa, diverso da, al massimo, almeno, uguale a, più, meno, "
        "minore di, maggiore di, radice di, infinito, somma, integrale, a, gradi",
    ),
    "nl": _words(
        "punt, apenstaartje",
        "Hier staat code",
        "in het kwadraat, tot de derde, tot de macht",
        "wortel van, gedeeld door",
        "keer, gedeeld door, plus of min, ongeveer, niet gelijk aan, hoogstens, minstens, is, "
        "plus, min, kleiner dan, groter dan, wortel van, oneindig, som, integraal, naar, graden",
    ),
    "ja": _words(
        "ドット, アット",
        "コードがあります",
        "の二乗, の三乗, の",
        "ルート, 割る",
        "かける, 割る, プラスマイナス, 約, ノットイコール, 以下, 以上, イコール, 足す, 引く, "
        "小なり, 大なり, ルート, 無限大, 総和, 積分, から, 度",
    ),
}


def find_words(language: str) -> SpokenWords:
    """Return the words of a language, such as "de"; of one that has none here, the English ones."""
    return _LANGUAGES.get(language, ENGLISH)
