"""Chat completions, streamed, from OpenAI or any server that speaks its protocol.

``chat`` sends the requests with the ``openai`` package, which ``library`` loads; ``request`` is
what they hold, ``body`` and ``reply`` read the answers, ``problems`` and ``errors`` the refusals.
"""
