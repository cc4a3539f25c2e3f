"""A loudspeaker whose callbacks are made here, in place of PortAudio's thread."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from voicecli import clock
from voicecli.audio.devices import Loudspeaker
from voicecli.audio.devices.sample_clock import BlockTime
from voicecli.audio.devices.stream import DeviceHost, complete
from voicecli.audio.playout import FADE
from voicecli.units import Seconds

RATE = 16_000
BLOCK = 160
LENGTH = BLOCK / RATE


def open_without_device() -> Loudspeaker:
    loudspeaker = Loudspeaker(None, RATE, prebuffer=0.02, block=LENGTH)
    loudspeaker.stream.owner = DeviceHost()
    return loudspeaker


def draw(loudspeaker: Loudspeaker, start: Seconds, blocks: int) -> None:
    """Draw ``blocks`` that sound one after the other from ``start`` on."""
    for at in start + LENGTH * np.arange(blocks):
        loudspeaker.stream.on_block(np.zeros(BLOCK, np.int16), BlockTime(at, called=clock.now()))


def play(loudspeaker: Loudspeaker, duration: Seconds) -> None:
    loudspeaker.start()
    loudspeaker.write(bytes(round(2 * duration * RATE)))
    loudspeaker.end()


def test_drain_to_waits_until_no_more_than_the_level_is_unheard():
    async def main() -> tuple[Seconds, Seconds]:
        loudspeaker = open_without_device()
        play(loudspeaker, 0.2)
        begun = clock.now()
        draw(loudspeaker, begun, 20)  # all at once: drawn is not heard
        await loudspeaker.drain_to(0.15)
        return clock.now() - begun, loudspeaker.queued

    took, queued = clock.run(main())
    assert took >= 0.0499  # a sample counts as heard half a sample early
    assert queued <= 0.15


def test_drain_to_returns_when_less_is_unheard_or_the_reply_is_cleared():
    async def main() -> None:
        loudspeaker = open_without_device()
        await loudspeaker.drain_to(0)  # before the first reply
        play(loudspeaker, 0.2)
        await loudspeaker.drain_to(0.2)
        draining = asyncio.create_task(loudspeaker.drain_to(0.1))
        await asyncio.sleep(0)
        loudspeaker.clear()
        await draining
        assert loudspeaker.queued == 0

    clock.run(main())


def test_drain_to_waits_while_playback_is_held():
    async def main() -> None:
        loudspeaker = open_without_device()
        play(loudspeaker, 0.2)
        draw(loudspeaker, clock.now() - 5 * LENGTH, 5)  # heard already
        loudspeaker.hold()
        draw(loudspeaker, clock.now(), 20)
        done, draining = await asyncio.wait(
            [asyncio.create_task(loudspeaker.drain_to(0.1))], timeout=0.15
        )
        assert not done
        assert loudspeaker.queued == pytest.approx(0.15)
        loudspeaker.resume()
        draw(loudspeaker, clock.now() - 5 * LENGTH, 5)
        await asyncio.wait(draining)
        assert loudspeaker.queued == pytest.approx(0.1)

    clock.run(main())


def test_an_order_settles_after_what_was_drawn_before_it():
    """What the sound card has taken sounds as it is."""

    async def main() -> None:
        loudspeaker = open_without_device()
        play(loudspeaker, 1.0)
        begun = clock.now()
        draw(loudspeaker, begun + 0.04, 3)
        loudspeaker.hold()
        assert loudspeaker.settles_at == pytest.approx(begun + 0.04 + 3 * LENGTH + FADE, abs=1e-6)

    clock.run(main())


def test_closing_is_waited_for_though_it_is_cancelled():
    ended: list[str] = []

    async def close() -> None:
        await asyncio.sleep(1)
        ended.append("closed")

    async def main() -> None:
        task = asyncio.create_task(complete(close()))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        ended.append("left")

    clock.run(main(), virtual=True)
    assert ended == ["closed", "left"]
