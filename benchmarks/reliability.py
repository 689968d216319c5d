"""Count what the reliability tests try, and what they lose: ``python -m benchmarks.reliability``.

Arguments go to pytest, such as ``-m "not slow"``; without any the slow tests run too.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

SUBJECTS = {
    "inputs and command lines": ("test_bad_input",),
    "checkpoint files": ("test_checkpoint",),
    "interrupted and killed runs": ("test_resume", "test_resume_families"),
    "numbers and determinism": ("test_robustness",),
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

    def row(self, subject: str) -> str:
        """A line of the table."""
        found = [x for file in SUBJECTS[subject] for x in self.outcomes.get(file, {}).values()]
        cells = [len(found), *(found.count(x) for x in ("passed", "failed", "skipped"))]
        return f"| {subject} | {' | '.join(map(str, cells))} |"


def main() -> int:
    """Run the tests and print the table; pytest's exit code."""
    tests = Path(__file__).parents[1] / "tests"
    files = [str(tests / f"{name}.py") for names in SUBJECTS.values() for name in names]
    count = Count()
    code = pytest.main(["-q", *(sys.argv[1:] or ["-m", ""]), *files], plugins=[count])
    print("\n| what | tried | held | failed | skipped |\n| --- | --- | --- | --- | --- |")
    print("\n".join(count.row(subject) for subject in SUBJECTS))
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
