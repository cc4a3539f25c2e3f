"""Writes what was measured: lines for a terminal, JSON, and a picture of a turn.

No colour carries a meaning of its own, and text from services is sanitized before it is shown.
"""
