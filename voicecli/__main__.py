"""Runs ``voicecli`` as ``python -m voicecli``."""

from voicecli.cli.app import main

if __name__ == "__main__":
    main()
