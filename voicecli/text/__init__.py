"""From LLM text to pieces that a TTS can speak.  Pure."""
