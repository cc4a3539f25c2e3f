"""Writes what was measured: lines for a terminal, JSON, and pages with pictures.

Nothing is shown by colour alone, and text from services is sanitized before it is printed.
"""
