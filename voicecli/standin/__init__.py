"""Stand-ins: servers on this machine that speak the services' wire protocols.

``serve`` puts an ``Engines`` behind Deepgram's ``/v1/listen`` and ``/v1/speak`` and OpenAI's
``/v1/chat/completions``; the program then runs unchanged, with two base URLs.
"""

from voicecli.standin.engines.interfaces import Engines
from voicecli.standin.faults import Fault
from voicecli.standin.server import Endpoints, serve

__all__ = ["Endpoints", "Engines", "Fault", "serve"]
