"""Microphone and loudspeaker, through PortAudio; PyAudio is imported when one is opened.

Two streams in callback mode; the callbacks, in PortAudio's thread, copy and return.  Both streams
run on one PortAudio (``card``), which is started anew when a device is lost.
"""

from voicecli.audio.devices.loudspeaker import Loudspeaker, open_loudspeaker
from voicecli.audio.devices.microphone import Microphone, open_microphone

__all__ = ["Loudspeaker", "Microphone", "open_loudspeaker", "open_microphone"]
