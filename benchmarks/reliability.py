"""Count what the reliability tests try, and what they lose: ``python -m benchmarks.reliability``.

Arguments go to pytest, such as ``-m "not slow"``; without any the slow tests run too. The values
that are tried for each key of each model are counted by ``python -m benchmarks.settings``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1] / "tests"
SUBJECTS = {
    "settings, property files, command lines": ("test_bad_input", "test_model_keys"),
    "data files": ("test_data_checks",),
    "metrics by loader": ("test_metrics",),
    "checkpoint files": ("test_checkpoint", "test_formats", "test_spectrum"),
    "records of runs and studies": ("test_run_folder", "test_report"),
    "names, locks, concurrent starts, other data": ("test_names",),
    "signals, pipes, disks, folders": ("test_surroundings",),
    "studies": ("test_compare",),
    "`kill -9` at random moments": ("test_kill",),
    "interrupted runs": ("test_resume", "test_resume_families"),
    "numbers and determinism": ("test_robustness",),
    "long runs": ("test_long_run",),
    "oldest versions": ("test_oldest",),
}
ENDS = ("passed", "failed", "skipped")


class Count:
    """A pytest plugin that keeps the outcome of every test, and how many cases it tried."""

    def __init__(self) -> None:
        self.outcomes: dict[str, dict[str, tuple[str, int]]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the test's own outcome, or that its preparation or tidying failed."""
        if report.when == "call" or not report.passed:
            name, _, test = report.nodeid.partition("::")
            cases = dict(report.user_properties).get("tried", 1)
            self.outcomes.setdefault(Path(name).stem, {})[test] = (report.outcome, cases)

    def row(self, subject: str) -> str:
        """A line of the table: a failed test counts with all of its cases."""
        found = [x for file in SUBJECTS[subject] for x in self.outcomes.get(file, {}).values()]
        cells = [sum(cases for outcome, cases in found if outcome == end) for end in ENDS]
        return f"| {subject} | {' | '.join(map(str, [sum(cells), *cells]))} |"


def main() -> int:
    """Run the tests and print the table; pytest's exit code."""
    names = {f"{name}.py" for stems in SUBJECTS.values() for name in stems}
    files = sorted(str(file) for file in TESTS.rglob("test_*.py") if file.name in names)
    count = Count()
    code = pytest.main(["-q", *(sys.argv[1:] or ["-m", ""]), *files], plugins=[count])
    print("\n| what | tried | held | failed | skipped |\n| --- | --- | --- | --- | --- |")
    print("\n".join(count.row(subject) for subject in SUBJECTS))
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
