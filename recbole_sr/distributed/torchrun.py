"""torchrun without its tracebacks: one of the processes has said in a sentence why all end.

``python -m recbole_sr.distributed.torchrun OPTIONS PROGRAM`` takes what torchrun takes, and ends
with the exit code of the process that failed first.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as torchrun

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the processes to their end.

    Args:
        arguments: of torchrun; those of the command line by default.

    Returns:
        0, the exit code of the process that failed first, or 128 and the number of the signal that
        ended it or this one, as a shell has it.

    """
    try:
        torchrun(arguments)
    except ChildFailedError as error:
        number, failure = error.get_first_failure()
        if failure.exitcode >= 0:
            return int(failure.exitcode)
        name = signal.Signals(-failure.exitcode).name
        print(f"recbole-sr: process {number} was ended by {name}", file=sys.stderr)
        return 128 - int(failure.exitcode)
    except SignalException as error:
        return 128 + int(error.sigval)
    return 0


if __name__ == "__main__":
    sys.exit(main())
