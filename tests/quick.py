"""Which tests are quick: `make test` runs these, and `make thorough` all.

`durations.txt` holds the seconds of the tests that take long, as `make durations` measured them; a test that is not in the file is quick.
Of a function whose tests are all long, the quickest one runs if it takes no more than `SHORT`. Tests marked `essential` always run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

DURATIONS = Path(__file__).with_name("durations.txt")
LONG = 0.5  # seconds of two idle cores
SHORT = 1.2


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="leave out tests that take long, by tests/durations.txt")
    parser.addoption("--record-durations", action="store_true", help="write tests/durations.txt")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("record_durations") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("quick"):
        left_out = long_tests([item.nodeid for item in items if not item.get_closest_marker("essential")], read(DURATIONS))
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left_out])
        items[:] = [item for item in items if item.nodeid not in left_out]


def long_tests(tests: Iterable[str], seconds: Mapping[str, float]) -> set[str]:
    """The tests that are not quick."""
    functions = defaultdict(list)
    for test in tests:
        functions[test.partition("[")[0]].append(test)
    left_out = set()
    for members in functions.values():
        quickest = min(members, key=lambda test: seconds.get(test, 0))
        left_out |= {test for test in members if seconds.get(test, 0) > (SHORT if test == quickest else LONG)}
    return left_out


def read(path: Path) -> dict[str, float]:
    """Seconds by test, of lines such as `1.2 tests/test_law.py::test_errors`."""
    lines = (line.partition(" ") for line in path.read_text().splitlines())
    return {test: float(seconds) for seconds, _, test in lines}


class Recorder:
    """Writes the file at the end of a run that passed. What fixtures take is left out, since tests share them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.duration > LONG:
            self.seconds[report.nodeid] = report.duration

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if exitstatus == pytest.ExitCode.OK:
            DURATIONS.write_text("".join(f"{seconds:.1f} {test}\n" for test, seconds in sorted(self.seconds.items())))
