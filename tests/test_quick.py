"""Which tests `make test` leaves out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import quick
from quick import long_tests, read


def test_long_tests_are_left_out_but_for_the_quickest_of_a_function() -> None:
    seconds = {"a.py::all_long[1]": 2.0, "a.py::all_long[2]": 1.0, "a.py::very_long": 9.0, "a.py::one_long[x]": 1.0}
    tests = [*seconds, "a.py::one_long[y]", "a.py::new"]
    assert long_tests(tests, seconds) == {"a.py::all_long[1]", "a.py::very_long", "a.py::one_long[x]"}
    assert long_tests(["a.py::one_long[x]"], seconds) == set()  # the other one does not run


def test_durations_of_a_run_are_read_back(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of tests may have blanks; only the call counts, and only where it is long. A run that failed writes nothing."""
    monkeypatch.setattr(quick, "DURATIONS", tmp_path / "durations.txt")
    recorder = quick.Recorder()
    for name, when, seconds in (("b.py::test[a b]", "call", 2.04), ("a.py::test", "setup", 5.0), ("a.py::test", "call", 0.1)):
        recorder.pytest_runtest_logreport(SimpleNamespace(nodeid=name, when=when, duration=seconds))  # type: ignore[arg-type]
    recorder.pytest_sessionfinish(pytest.ExitCode.TESTS_FAILED)
    assert not quick.DURATIONS.exists()
    recorder.pytest_sessionfinish(pytest.ExitCode.OK)
    assert read(quick.DURATIONS) == {"b.py::test[a b]": 2.0}


@pytest.mark.parametrize(
    ("chosen", "kept"), [(True, ["a.py::essential", "a.py::new"]), (False, ["a.py::essential", "a.py::long", "a.py::new"])]
)
def test_essential_tests_run(chosen: bool, kept: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick, "read", lambda path: {"a.py::long": 9.0, "a.py::essential": 9.0})
    deselected: list[Any] = []
    hook = SimpleNamespace(pytest_deselected=lambda items: deselected.extend(items))
    config: Any = SimpleNamespace(getoption={"quick": chosen}.get, hook=hook)
    names = ["a.py::essential", "a.py::long", "a.py::new"]
    items: Any = [SimpleNamespace(nodeid=name, get_closest_marker=lambda mark, name=name: mark in name) for name in names]
    quick.pytest_collection_modifyitems(config, items)
    assert [item.nodeid for item in items] == kept
    assert len(items) + len(deselected) == 3


def test_the_file_of_durations_is_of_these_tests() -> None:
    """Most lines name a test that exists; after many changes of names, run `make durations`."""
    root = quick.DURATIONS.parents[1]
    tests = [test.partition("[")[0].split("::") for test in read(quick.DURATIONS)]
    known = [(root / file).exists() and function.rpartition(".")[2] in (root / file).read_text() for file, *_, function in tests]
    assert sum(known) > 0.9 * len(known) > 100
