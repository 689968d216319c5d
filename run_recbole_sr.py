"""Train a RecBole model with stable-rank regularisation: see ``--help``."""

import sys

from recbole_sr.cli import main

if __name__ == "__main__":
    sys.exit(main())
