"""Every model of the list for one epoch of ml-100k: ``python -m benchmarks.models [NAME ...]``.

Each runs as a user would run it, in a process and a folder of its own, which keeps its output and
what it came to; a run that is there already is not run again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.harness import report
from recbole_sr.models.registry import SUPPORTED

SCRIPT = Path(__file__).parents[1] / "run_recbole_sr.py"
# The 500 epochs of pretraining, which `epochs` says nothing about, would take days here.
MORE = {"S3Rec": ["--pretrain_epochs=1", "--save_step=1"]}


def main() -> None:
    """Run the models and print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.models", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", default=list(SUPPORTED))
    parser.add_argument("--limit", type=float, default=600, help="seconds a model may take")
    parser.add_argument("-o", "--output", type=Path, default="model-runs", help="the folder")
    given = parser.parse_args()
    found = {name: outcome(given.output / name, given.limit) for name in given.names}
    report(
        "One epoch of ml-100k (one run each)",
        ["model", "seconds", "exit code"],
        [[name, run["seconds"], run["code"]] for name, run in found.items()],
    )


def outcome(folder: Path, limit: float) -> dict[str, Any]:
    """What the run in a folder, named after its model, came to."""
    file = folder / "outcome.json"
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(run(folder, limit)))
    found: dict[str, Any] = json.loads(file.read_text())
    print(folder.name, found, file=sys.stderr, flush=True)
    return found


def run(folder: Path, limit: float) -> dict[str, Any]:
    """Run the command in a folder, the output going to a file there."""
    command = [sys.executable, SCRIPT, "-m", folder.name, "-d", "ml-100k", "--epochs=1"]
    command += ["--sr_warm_epochs=5", *MORE.get(folder.name, [])]
    start = perf_counter()
    with (folder / "output.txt").open("w") as output:
        try:
            code: int | str = subprocess.run(  # noqa: S603
                command, cwd=folder, stdout=output, stderr=output, timeout=limit
            ).returncode
        except subprocess.TimeoutExpired:
            code = "stopped"
    return {"seconds": round(perf_counter() - start), "code": code}


if __name__ == "__main__":
    main()
