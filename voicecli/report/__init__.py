"""Writes what was measured: lines for a terminal, JSON, and a picture of a turn.

Nothing is shown by colour alone, and text from services is sanitized before it is printed.
"""
