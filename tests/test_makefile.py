"""What ``make`` calls, with an interpreter that only writes down how it was called."""

from __future__ import annotations

import os
import shutil
import subprocess
import unittest
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support import PATIENCE, ROOT


@unittest.skipIf(shutil.which("make") is None, "make is not installed")
class MakeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).resolve()
        (self.directory / ".venv/bin").mkdir(parents=True)
        for name in ("Makefile", "setup.cfg", "pyproject.toml"):
            shutil.copy(ROOT / name, self.directory)
        self.written = self.directory / "written"
        python = self.directory / ".venv/bin/python"
        python.write_text('#!/bin/sh\necho "$*" >>written\n')
        python.chmod(0o755)

    def make(self, *arguments: str) -> list[str]:
        """How the interpreter was called."""
        self.written.write_text("")
        # A make that runs these tests hands its own settings on, such as VENV.
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in ("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "PYTHON", "VENV")
        }
        done = subprocess.run(
            ["make", *arguments],
            cwd=self.directory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return self.written.read_text().splitlines()

    def test_run_installs_once(self) -> None:
        install, run = self.make("run")
        self.assertRegex(install, r"^-m pip install .*--editable \.$")
        self.assertEqual(run, "-m mailkit.tap mailkit-data")
        self.assertEqual(self.make("run"), [run])

    def test_whoever_has_tested_can_run_without_a_network(self) -> None:
        install, *_ = self.make("test")
        self.assertRegex(install, r"^-m pip install .*--editable \.\[test\]$")
        self.assertEqual(self.make("run"), ["-m mailkit.tap mailkit-data"])

    def test_a_change_of_what_is_needed_installs_again(self) -> None:
        self.make("test")
        for stamp in (self.directory / ".venv").glob(".installed*"):
            os.utime(stamp, (0, 0))
        self.assertEqual(len(self.make("run")), 2)
