"""Count what the reliability tests try, and what they lose: ``python -m benchmarks.reliability``.

Arguments go to pytest, such as ``-m "not slow"``; without any the slow tests run too.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# One test is one input, or one kill.
INPUTS, KILLS = "inputs and command lines", "`kill -9` at random moments"
SUBJECTS = {
    INPUTS: ("test_bad_input",),
    "checkpoint files": ("test_checkpoint",),
    KILLS: ("test_kill",),
    "interrupted runs": ("test_resume", "test_resume_families"),
    "numbers and determinism": ("test_robustness",),
    "long runs": ("test_long_run",),
    "oldest versions": ("test_oldest",),
}


class Count:
    """A pytest plugin that keeps the outcome of every test by its file."""

    def __init__(self) -> None:
        self.outcomes: dict[str, dict[str, str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the test's own outcome, or that its preparation or tidying failed."""
        if report.when == "call" or not report.passed:
            name, _, test = report.nodeid.partition("::")
            self.outcomes.setdefault(Path(name).stem, {})[test] = report.outcome

    def number(self, subject: str, *outcomes: str) -> int:
        """How many tests of a subject ended so."""
        found = [x for file in SUBJECTS[subject] for x in self.outcomes.get(file, {}).values()]
        return sum(found.count(outcome) for outcome in outcomes)

    def row(self, subject: str) -> str:
        """A line of the table."""
        ends = ("passed", "failed", "skipped")
        cells = [self.number(subject, *ends), *(self.number(subject, end) for end in ends)]
        return f"| {subject} | {' | '.join(map(str, cells))} |"

    def summary(self) -> str:
        """The counts in one sentence."""
        tried = self.number(INPUTS, "passed", "failed")
        return (
            f"Kills survived: {self.number(KILLS, 'passed')}, losses: "
            f"{self.number(KILLS, 'failed')}. Inputs tried: {tried}, crashes: "
            f"{self.number(INPUTS, 'failed')}."
        )


def main() -> int:
    """Run the tests and print the table; pytest's exit code."""
    tests = Path(__file__).parents[1] / "tests"
    files = [str(tests / f"{name}.py") for names in SUBJECTS.values() for name in names]
    count = Count()
    code = pytest.main(["-q", *(sys.argv[1:] or ["-m", ""]), *files], plugins=[count])
    print("\n| what | tried | held | failed | skipped |\n| --- | --- | --- | --- | --- |")
    print("\n".join(count.row(subject) for subject in SUBJECTS), count.summary(), sep="\n\n")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
