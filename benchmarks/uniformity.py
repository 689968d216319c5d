"""Exact uniformity, forward and backward, against the form by ``torch.pdist``: time and memory.

Memory is the growth of a process's peak from one evaluation, each in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import torch

from benchmarks.harness import interleaved, report
from recbole_sr.objectives.uniformity import log_mean_kernel

SIZES, WIDTH = (3500, 7000, 14000), 64
FORMS = {
    "pdist": lambda x: torch.pdist(x).square().mul(-2).exp().mean().log(),
    "ours": log_mean_kernel,
}


def step(form: str, x: torch.Tensor) -> None:
    """Forward and backward."""
    x.grad = None
    FORMS[form](x).backward()


def unit_rows(n: int) -> torch.Tensor:
    """Random points of the sphere, ``(n, d)``."""
    x = torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.normalize(x).requires_grad_()


def peak() -> float:
    """MiB of memory this process has had at most (Linux); `ru_maxrss` would be the parent's."""
    status = Path("/proc/self/status").read_text("utf-8")
    return float(status.split("VmHWM:")[1].split()[0]) / 2**10


def memory(form: str, n: int) -> float:
    """MiB that one evaluation adds, after a small one has loaded what torch loads once."""
    command = [sys.executable, "-m", "benchmarks.uniformity", form, str(n)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)  # noqa: S603


def main() -> None:
    """Print the table, or the memory of one form and size when told which."""
    if len(sys.argv) == 3:
        step(sys.argv[1], unit_rows(64))
        before = peak()
        step(sys.argv[1], unit_rows(int(sys.argv[2])))
        print(peak() - before)
        return
    rows = []
    for n in SIZES:
        x = unit_rows(n)
        seconds = interleaved({form: partial(step, form, x) for form in FORMS})
        theirs, ours = (seconds[form] * 1e3 for form in FORMS)
        mib = [f"{memory(form, n):.0f}" for form in FORMS]
        rows.append([n, f"{theirs:.0f}", f"{ours:.0f}", f"{theirs / ours:.1f} x", *mib])
    report(
        f"Exact uniformity, forward and backward (d = {WIDTH})",
        ["rows", "pdist, ms", "ours, ms", "faster", "pdist, MiB", "ours, MiB"],
        rows,
    )


if __name__ == "__main__":
    main()
