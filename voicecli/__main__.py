"""``python -m voicecli`` is ``voicecli``."""

from voicecli.cli.app import main

if __name__ == "__main__":
    main()
