"""Deepgram on the wire: Nova-3 listens (``listen``), Aura-2 speaks (``speak``)."""
