"""Odd inputs of every kind: no internal error, no hang, no key in the output.

The same examples each time; ``python -m tests.wild.fuzz --minutes 30`` takes others.
"""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings

from tests.wild.fuzz import OPTIONS, TARGETS, run_target
from tests.wild.fuzz_chat import Chat
from tests.wild.fuzz_conversation import check_conversation
from tests.wild.fuzz_target import Target


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_odd_inputs_end_well(target: Target) -> None:
    phases = [Phase.generate, Phase.shrink]
    assert run_target(target, settings(OPTIONS, max_examples=target.share, phases=phases))


def test_a_chat_server_that_is_slow_after_the_conversation_is_no_finding() -> None:
    """The answer is complete by its Content-Length, and the server is still at it."""
    part = b"data: [DONE]\n\n"
    check_conversation(
        Chat("400 Bad Request", [("Content-Length", "7")], [part, part], "whole", pause=0.05)
    )
