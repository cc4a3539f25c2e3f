"""``probe``: measures each service as a conversation uses it, and predicts mouth-to-ear from that.

``run`` traces the connections to a service (``trace``) and has a prober (``stt``, ``llm``, ``tts``)
take samples as ``schedule`` says.  ``results`` collects them, ``prediction`` simulates turns with
them and finds what would help most, ``compare`` finds what changed since a saved run.  ``models``
asks several models of the LLM in turn, ``model_report`` shows them side by side.
"""
