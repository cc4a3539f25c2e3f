"""Profiles: what is configured, where it comes from, and every reason to refuse it.

A profile is YAML, and may extend another.  The first of these that has a value counts: the command
line (``--set``), ``VOICECLI_SECTION__KEY``, the profile, the profile it extends, the default.  All
of it is checked before anything opens; what comes out is frozen.  pydantic is used here and nowhere
else; importing it takes 0.1 s.
"""

from voicecli.profile.load import load_profile, restore_profile
from voicecli.profile.lookup import KnownProfile, find_script, known_profiles, source_of
from voicecli.profile.model import Profile
from voicecli.profile.validation import json_schema

__all__ = [
    "KnownProfile",
    "Profile",
    "find_script",
    "json_schema",
    "known_profiles",
    "load_profile",
    "restore_profile",
    "source_of",
]
