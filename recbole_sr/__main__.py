"""``python -m recbole_sr`` is ``recbole-sr``."""

import sys

from recbole_sr.cli import main

if __name__ == "__main__":
    sys.exit(main())
