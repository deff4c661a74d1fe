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
