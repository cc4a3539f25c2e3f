"""Profiles: the settings of a conversation, where they come from, and why one is refused.

A profile is YAML, and may extend another.  The first of these that has a value counts: the command
line (``--set``), ``VOICECLI_SECTION__KEY``, the profile, the profile it extends, the default.
Everything is validated before anything opens; the result is frozen.
"""

from voicecli.profile.load import (
    KnownProfile,
    list_profiles,
    load_profile,
    load_script,
    read_source,
    restore_profile,
    script_schema,
)
from voicecli.profile.model import Profile, render_default_profile
from voicecli.profile.validation import json_schema

__all__ = [
    "KnownProfile",
    "Profile",
    "json_schema",
    "list_profiles",
    "load_profile",
    "load_script",
    "read_source",
    "render_default_profile",
    "restore_profile",
    "script_schema",
]
