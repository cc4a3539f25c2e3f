"""Deepgram, over WebSockets.

Nova-3 transcribes (``nova``); Aura-2 (``aura``) and Flux TTS (``flux_tts``) speak.
"""

from voicecli.services.provider import Handshake, ServiceAddress
from voicecli.units import Seconds

API_URL = "https://api.deepgram.com"
URL_ENV = "DEEPGRAM_BASE_URL"
KEY_ENV = "DEEPGRAM_API_KEY"

CLOSE_TIMEOUT = 1.0
"""Seconds that the service has to answer our good-bye."""

CLOSE_TTS = '{"type": "Close"}'
"""The good-bye to Aura-2 and to Flux TTS."""


def create_handshake(
    path: str, address: ServiceAddress, timeout: Seconds, goodbye: str = ""
) -> Handshake:
    """The handshake of a WebSocket; without a key it has no headers."""
    headers = {"Authorization": f"Token {address.key}"} if address.key else {}
    return Handshake(path=path, websocket=True, headers=headers, timeout=timeout, goodbye=goodbye)
