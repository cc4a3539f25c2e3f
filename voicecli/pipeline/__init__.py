"""One conversation: the core that ``talk``, ``replay`` and ``probe`` share."""
