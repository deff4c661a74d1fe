"""Settings of the tests for pytest; trial needs none of them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from twisted.trial import util

from tests.leftovers import Leftovers, watch_pools

#: Seconds until trial gives up a test: only one that hangs takes so long, on any machine.
util.DEFAULT_TIMEOUT_DURATION = 300.0
watch_pools()


def pytest_configure(config: pytest.Config) -> None:
    # Of pytest-xdist: it would begin with the files of most tests, rather than with the longest.
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, so that no process has one left when the others are done."""
    long = {
        item.path
        for item in items
        if "interop" in item.path.parts or item.get_closest_marker("slow") is not None
    }
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(autouse=True, scope="session")
def _programs_compile_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Programs that tests start share what Python compiles, and leave nothing in the checkout."""
    directory = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        directory = directory.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPYCACHEPREFIX", str(directory / "pycache"))
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        yield


@pytest.fixture(autouse=True, scope="session")
def _in_a_directory_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run where trial would: its ``mktemp`` makes files below the current directory."""
    before = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("trial"))
    yield
    os.chdir(before)


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """Blame a test for what it leaves, rather than the next one."""
    leftovers = Leftovers()
    yield
    found = leftovers.end()
    assert not found, "the test leaves behind: " + "; ".join(found)
