"""Microphone and loudspeaker through PortAudio; PyAudio is imported when one is opened.

Each is a stream in callback mode; the callbacks, in PortAudio's thread, copy and return.  Both
streams share one PortAudio, which is restarted when a device is lost.
"""

from voicecli.audio.devices.loudspeaker import Loudspeaker, open_loudspeaker
from voicecli.audio.devices.microphone import Microphone, open_microphone

__all__ = ["Loudspeaker", "Microphone", "open_loudspeaker", "open_microphone"]
