"""How many descriptors a program of ours takes."""

from __future__ import annotations

import resource
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.tap import descriptors


class RaiseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.limit = (256, 4096)
        self.patch(resource, "getrlimit", lambda which: self.limit)
        self.patch(resource, "setrlimit", self.set_limit)

    def set_limit(self, which: int, limit: Any) -> None:
        self.assertEqual(which, resource.RLIMIT_NOFILE)
        if limit[0] == resource.RLIM_INFINITY:
            raise ValueError("not allowed to raise maximum limit")
        self.limit = limit

    def test_all_that_the_system_gives(self) -> None:
        self.assertEqual(descriptors.open_files_limit(), 256)
        descriptors.raise_open_files_limit()
        self.assertEqual(descriptors.open_files_limit(), 4096)

    def test_a_limit_that_is_not_allowed(self) -> None:
        self.limit = (256, resource.RLIM_INFINITY)
        descriptors.raise_open_files_limit()
        self.assertEqual(descriptors.open_files_limit(), 256)

    def test_no_limit(self) -> None:
        self.limit = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        self.assertGreater(descriptors.connection_share(4), 100_000)

    def test_at_least_one_connection(self) -> None:
        self.limit = (20, 20)
        self.assertEqual(descriptors.connection_share(4), 1)
