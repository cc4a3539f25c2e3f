"""The way from the user's mouth to their ear: its milestones, and the stages between them.

The stages are those of the critical path.  Each begins where the one before it ends and none is
negative, so they sum to mouth-to-ear; of work that was done while something else was waited for,
only the part that had to be waited for counts.  How long a service took by itself, waited for or
not, is its raw duration.
"""

from __future__ import annotations

from dataclasses import dataclass

from voicecli.units import Seconds

MOUTH_TO_EAR = "mouth_to_ear"

STAGES = (
    "stt.ttfs",
    "turn.commit",
    "llm.ttft",
    "llm.clause",
    "tts.ttfa",
    "playout",
    "pipeline",
)
"""What mouth-to-ear is the sum of, in the order of a turn.

stt.ttfs: end of the user's last voiced frame → final text in hand; endpointing included.
turn.commit: → the decision that the turn has ended.
llm.ttft: request → first content token; failed requests before it included.
llm.clause: → first clause complete.
tts.ttfa: flush → first audible sample arrived.
playout: → it sounded.
pipeline: everything in between: our own.
"""

RAW = (
    "endpointing",
    "stt.ttfs",
    "turn.commit",
    "llm.ttft",
    "llm.clause",
    "tts.ttfb",
    "tts.ttfa",
    "playout",
)
"""Durations by themselves, whether or not they were waited for.

endpointing: end of the user's voice → the decision that the turn has ended.
llm.ttft: of the request that won.
tts.ttfb: flush → first byte, audible or not.
The others are named as the stages.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Milestones:
    """When things happened in one turn, in seconds on the session's clock; None: they did not.

    speech_end: end of the user's last voiced frame.
    text: the final text was in hand.
    commit: the turn was declared ended.
    request: the first request to the LLM; ``winner``: the one that was answered.
    token, clause: first content token, first clause complete.
    flush: the TTS was told to speak.
    byte, audio: first audio arrived, first audible sample arrived.
    sound: it sounded.
    """

    speech_end: Seconds | None = None
    text: Seconds | None = None
    commit: Seconds | None = None
    request: Seconds | None = None
    winner: Seconds | None = None
    token: Seconds | None = None
    clause: Seconds | None = None
    flush: Seconds | None = None
    byte: Seconds | None = None
    audio: Seconds | None = None
    sound: Seconds | None = None

    @property
    def drafted(self) -> bool:
        """Whether the LLM was asked before the turn was declared ended."""
        return self.request is not None and self.commit is not None and self.request < self.commit

    @property
    def mouth_to_ear(self) -> Seconds | None:
        """End of the user's voice → first sound of the reply; None when one is unknown."""
        if self.speech_end is None or self.sound is None:
            return None
        return max(self.sound - self.speech_end, 0.0)


def measure_stages(at: Milestones) -> dict[str, Seconds]:
    """The stages that sum to mouth-to-ear; without those whose milestone is missing.

    A draft waits for the commitment with its first clause in hand, any other request is made after
    it: the chain is the causal one of the two.
    """
    if at.speech_end is None or at.sound is None:
        return {}
    commit = ("turn.commit", at.commit)
    llm = [("pipeline", at.request), ("llm.ttft", at.token), ("llm.clause", at.clause)]
    chain = [
        ("stt.ttfs", at.text),
        *([*llm, commit] if at.drafted else [commit, *llm]),
        ("pipeline", at.flush),
        ("tts.ttfa", at.audio),
        ("playout", at.sound),
    ]
    took = {"pipeline": 0.0}
    here = at.speech_end
    end = max(at.sound, here)
    for stage, when in chain:
        if when is not None:
            there = min(max(when, here), end)
            took[stage] = took.get(stage, 0.0) + there - here
            here = there
    return {stage: took[stage] for stage in STAGES if stage in took}


def measure_raw(at: Milestones) -> dict[str, Seconds]:
    """The durations by themselves that are known, none negative."""
    spans = {
        "endpointing": (at.speech_end, at.commit),
        "stt.ttfs": (at.speech_end, at.text),
        "turn.commit": (at.text, at.commit),
        "llm.ttft": (at.winner, at.token),
        "llm.clause": (at.token, at.clause),
        "tts.ttfb": (at.flush, at.byte),
        "tts.ttfa": (at.flush, at.audio),
        "playout": (at.audio, at.sound),
    }
    return {
        name: max(until - since, 0.0)
        for name, (since, until) in spans.items()
        if since is not None and until is not None
    }
