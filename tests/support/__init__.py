"""Shared by the tests: paths, fixtures, stand-ins and recordings."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
SPEECH = ROOT / "tests" / "speech"
PROFILES = ROOT / "profiles"
