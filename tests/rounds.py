"""Tests many times over, since what fails by chance shows only so.

    python -m tests.rounds 50 tests/work tests/ground/test_ending.py

Other words are pytest's. The first and the last round of a test run here, so that what is heavy is
imported once and what a session or a module shares is built once; each other is a fork.
"""

import json
import os
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest
from _pytest.runner import runtestprotocol


class Rounds:
    """Repeats each test, counts, and keeps what failed rounds said."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.run: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.folder = Path(tempfile.mkdtemp(prefix="rounds-"))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        # Where its parent comes next, only what is the test's own is torn down.
        again = cast("pytest.Item", item.parent)
        for number in range(1, self.rounds + 1):
            if number in (1, self.rounds):
                after = nextitem if number == self.rounds else again
                reports = runtestprotocol(item, nextitem=after, log=False)
            else:
                reports = forked(item, again)
            for report in reports:
                item.ihook.pytest_runtest_logreport(report=report)
            self._count(item.nodeid, number, reports)
        return True

    def _count(self, name: str, number: int, reports: list[pytest.TestReport]) -> None:
        self.run[name] += 1
        failed = [report for report in reports if report.failed]
        self.failed[name] += bool(failed)
        for report in failed:
            told = [report.longreprtext, *(f"{head}\n{text}" for head, text in report.sections)]
            path = self.folder / re.sub(r"\W+", "-", f"{name} {number} {report.when}")
            path.with_suffix(".txt").write_text("\n".join(told), "utf-8")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for name, rounds in self.run.items():
            terminalreporter.write_line(f"{rounds} rounds, {self.failed[name]} failed: {name}")
        if self.failed.total():
            terminalreporter.write_line(f"what they said is in {self.folder}")
        else:
            self.folder.rmdir()


def forked(item: pytest.Item, after: pytest.Item) -> list[pytest.TestReport]:
    """What a fork of this process reports of the test; a failure where it ended before that."""
    hook = item.ihook
    with tempfile.TemporaryFile("w+", encoding="utf-8") as told:
        child = os.fork()
        if not child:
            try:
                reports = runtestprotocol(item, nextitem=after, log=False)
                found = [
                    hook.pytest_report_to_serializable(config=item.config, report=report)
                    for report in reports
                ]
                json.dump(found, told)
                told.flush()
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        told.seek(0)
        text = told.read()
    if not text:
        why = f"its process ended with {os.waitstatus_to_exitcode(status)}"
        return [pytest.TestReport(item.nodeid, item.location, {}, "failed", why, "call")]
    data: list[dict[str, Any]] = json.loads(text)
    return [hook.pytest_report_from_serializable(config=item.config, data=one) for one in data]


if __name__ == "__main__":
    # The folders of tests that passed would fill the disk.
    options = ["-o", "tmp_path_retention_policy=failed", *sys.argv[2:]]
    sys.exit(pytest.main(options, plugins=[Rounds(int(sys.argv[1]))]))
