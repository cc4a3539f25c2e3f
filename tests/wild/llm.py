"""Cases of a chat server's answers: each is asked for, and its outcome compared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.chat_server import USAGE, Answer, Request, ask, delta, refusing, streaming
from tests.wild import Case

HI = streaming(delta(content="Hi."), delta("stop"), USAGE)


def shorten(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


@dataclass(frozen=True)
class ChatCase(Case):
    """A case, the server's answer, and the settings that are not the defaults.

    after: the outcome, word by word.
    """

    answer: Answer
    settings: Mapping[str, Any] = field(default_factory=dict)

    def outcome(self) -> str:
        """Ask once; return what became of it, the server as HOST and without the request's id."""
        (outcome,) = ask(self.answer, **self.settings)
        text = re.sub(r"127\.0\.0\.1:[0-9]+", "HOST", str(outcome))
        return shorten(re.sub(r" \(request id req-[0-9]\)", "", text), 250)


def refusing_fields(
    *names: str, body: Any, status: str = "400 Bad Request", then: Answer = HI
) -> Answer:
    """Refuse requests with a field of ``names``; ``body`` is the refusal, with NAME for it."""

    async def answer(request: Request) -> None:
        found = [name for name in names if name in request.body]
        if found:
            refusal = body(found[0]) if callable(body) else body
            await refusing(status, refusal)(request)
        else:
            await then(request)

    return answer
