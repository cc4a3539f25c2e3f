"""What the LLM writes, as text that a TTS can speak.  Pure."""
