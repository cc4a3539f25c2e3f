"""The user's turn as far as it is known: words from the STT, the voice from the detector.  Pure."""

from __future__ import annotations

from voicecli import events
from voicecli.events import Action, Ending, Event
from voicecli.turns.end_of_turn import classify_ending, weigh_sound
from voicecli.turns.policy import TurnPolicy
from voicecli.turns.transcript import SAME_WORD, TurnTranscript
from voicecli.units import Seconds

DETECTOR_MISS: Seconds = 0.3
"""If the words end this much later than the detected speech, the detector missed them."""

UTTERANCE_END_TOLERANCE: Seconds = 0.05
"""An UtteranceEnded this much earlier than the last known word belongs to an earlier word."""


class UserTurn:
    """What the user has said since the last commit, and whether the user speaks.

    scored: whether there is an end-of-turn model that scores pauses.
    transcript: the words.
    speaking: whether the detector is within a stretch of speech, pauses included.
    silent_since: the end of the voice, in a pause or after it; None while there is voice, and if
        the detector reported none in this turn.
    end_score: the probability that the turn has ended with this pause, by its sound; None: unknown.
    """

    def __init__(self, *, scored: bool = False) -> None:
        self.transcript = TurnTranscript()
        self._is_scored = scored
        self.speaking = False
        self.silent_since: Seconds | None = None
        self.end_score: float | None = None
        self._scored: Seconds | None = None
        """The pause whose score was asked for; None if none was in this silence."""
        self._committed_end: Seconds | None = None
        """The end of the turn that was committed last."""

    def follow_voice(self, event: Event) -> None:
        """Take what detector and end-of-turn model report; other events mean nothing here."""
        match event:
            case events.SpeechStarted():
                self.speaking = True
                self._end_silence()
            case events.SpeechPaused():
                self.silent_since = event.speech_end
            case events.SpeechResumed():
                self._end_silence()
            case events.SpeechStopped():
                self.speaking, self.silent_since = False, event.speech_end
            case events.EndOfTurnScored() if event.speech_end == self._scored:
                self.end_score = event.probability

    def commit(self) -> str:
        """Return all words, and begin the next turn."""
        self._committed_end = self.speech_end
        self._end_silence()
        return self.transcript.take()

    def reopen(self) -> None:
        """Continue the turn that was committed last."""
        self.transcript.restore(self._committed_end)

    def request_score(self, at: Seconds) -> list[Action]:
        """Have the pause scored by its sound, once, if there is a model that scores."""
        if not self._is_scored or self.silent_since is None or self._scored is not None:
            return []
        self._scored = self.silent_since
        return [events.ScoreEndOfTurn(at=at, speech_end=self.silent_since)]

    def _end_silence(self) -> None:
        self.silent_since = self.end_score = self._scored = None

    @property
    def speech_end(self) -> Seconds | None:
        """When the user stopped: by the detector, unless it missed the last words."""
        detected, transcribed = self.silent_since, self.transcript.speech_end
        if detected is None or (transcribed is not None and transcribed > detected + DETECTOR_MISS):
            return transcribed
        return detected

    @property
    def ending(self) -> Ending:
        """How the turn ends, by its words and, as far as it is known, its sound."""
        return weigh_sound(classify_ending(self.transcript.text), self.end_score)

    def find_draft_time(self, policy: TurnPolicy) -> Seconds | None:
        """Return from when on to draft on the words known: in a pause, if they may be all.

        The last word must end with the voice, to within SAME_WORD: a missing word takes longer.
        """
        text, end = self.transcript.text, self.transcript.speech_end
        pause = policy.pauses.get(classify_ending(text))
        if not text or end is None or self.silent_since is None or pause is None:
            return None
        return self.silent_since + pause if end >= self.silent_since - SAME_WORD else None

    def ends_with(self, event: events.UtteranceEnded) -> bool:
        """Whether ``event`` refers to the last word known."""
        end, last = self.transcript.speech_end, event.last_word_end
        if not self.transcript.text or end is None:
            return False
        if last is None:
            return not self.transcript.is_open
        return last >= end - UTTERANCE_END_TOLERANCE
