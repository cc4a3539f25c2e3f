"""Deepgram: Nova-3 transcribes (``nova``), Aura-2 speaks (``aura``), both over a WebSocket."""

API_URL = "https://api.deepgram.com"
URL_ENV = "DEEPGRAM_BASE_URL"
KEY_ENV = "DEEPGRAM_API_KEY"

CLOSE_TIMEOUT = 1.0
"""Seconds that the service has to answer our good-bye."""


def create_headers(key: str) -> dict[str, str]:
    """The headers that authenticate a handshake; none without a key."""
    return {"Authorization": f"Token {key}"} if key else {}
