"""``probe``: each service measured as a conversation uses it, and what to expect of them together.

A prober per service (``stt``, ``llm``, ``tts``) takes Readings through the adapters that a
conversation uses; ``series`` takes enough of them, and ``findings`` holds what came of it.
``prediction`` makes a mouth-to-ear of the three, ``comparison`` tells one run from another.
"""
