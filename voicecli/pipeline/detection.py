"""Feeds detectors; sessions side by side have their windows judged in one call of the network.

Eight windows together take half the time of eight alone (see ``vad.network``).  Where windows come
densely, from some twenty sessions on, they wait for each other, up to LONGEST_WAIT; elsewhere each
is judged at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from weakref import WeakKeyDictionary

from voicecli import clock
from voicecli.audio.interfaces import Detector
from voicecli.audio.vad.network import LARGEST_BATCH, SharedNetwork, Window
from voicecli.events import Event
from voicecli.units import AudioBlock, Seconds

LONGEST_WAIT: Seconds = 0.004
"""Of a window, for others: an eighth of its length, and less than MAX_LAG."""

DENSE: Seconds = 0.012
"""A full batch came within this time: within LONGEST_WAIT, two or three windows come together."""


async def detect(detector: Detector, block: AudioBlock) -> list[Event]:
    """Return what ``block`` reveals of the user's voice, as ``Detector.feed`` does."""
    hearing = detector.hear(block)
    try:
        window = next(hearing)
        while True:
            window = hearing.send(await _find_queue().judge(window))
    except StopIteration as heard:
        events: list[Event] = heard.value
        return events


class WindowQueue:
    """The windows of one event loop that wait to be judged together."""

    def __init__(self) -> None:
        self._network = SharedNetwork()
        self._waiting: list[tuple[Window, asyncio.Future[float]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._came: deque[Seconds] = deque(maxlen=LARGEST_BATCH)

    async def judge(self, window: Window) -> float:
        """Return the probability of a voice in ``window``."""
        now = clock.now()
        self._came.append(now)
        dense = len(self._came) == LARGEST_BATCH and now - self._came[0] <= DENSE
        if not dense and not self._waiting:
            return self._network.judge([window])[0]
        loop = asyncio.get_running_loop()
        judged: asyncio.Future[float] = loop.create_future()
        self._waiting.append((window, judged))
        if len(self._waiting) == LARGEST_BATCH:
            self._judge_all()
        elif self._timer is None:
            self._timer = loop.call_later(LONGEST_WAIT, self._judge_all)
        return await judged

    def _judge_all(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        waiting, self._waiting, self._timer = self._waiting, [], None
        probabilities = self._network.judge([window for window, _ in waiting])
        for (_, judged), probability in zip(waiting, probabilities, strict=True):
            if not judged.done():  # its session has ended
                judged.set_result(probability)


_queues: WeakKeyDictionary[asyncio.AbstractEventLoop, WindowQueue] = WeakKeyDictionary()


def _find_queue() -> WindowQueue:
    """Return the running loop's queue."""
    loop = asyncio.get_running_loop()
    if loop not in _queues:
        _queues[loop] = WindowQueue()
    return _queues[loop]
