"""A PostgreSQL of our own, in a private directory."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import subprocess
import tempfile
from typing import Any

from twisted.trial.unittest import TestCase

from tests.support import PATIENCE


def _programs() -> str | None:
    """Where initdb and pg_ctl are, of the newest version."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    return os.path.dirname(found[-1]) if found else None


def _user() -> str | None:
    """PostgreSQL does not run as root."""
    if os.getuid():
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return "nobody"


class PostgresCase(TestCase):
    """Has a server, and a connection to it."""

    timeout = 240
    if _programs() is None:
        skip = "postgresql is not installed"

    def setUp(self) -> None:
        try:
            import psycopg
        except ImportError as error:
            self.skipTest(f"psycopg is missing: {error}")
        self.psycopg: Any = psycopg
        # A UNIX socket's path must be short.
        self.directory = tempfile.mkdtemp(prefix="mailkit-pg-")
        self.addCleanup(shutil.rmtree, self.directory, True)
        user = _user()
        if user is not None:
            os.chown(self.directory, pwd.getpwnam(user).pw_uid, -1)
        data = os.path.join(self.directory, "data")
        self.run_as(user, "initdb", "-D", data, "-A", "trust", "-U", "shop", "--no-sync")
        self.data, self.user = data, user
        self.start_server()
        self.addCleanup(self.stop_server)
        self.dsn = f"host={self.directory} user=shop dbname=postgres"
        self.connection = psycopg.connect(self.dsn)
        self.addCleanup(self.connection.close)

    def start_server(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-k {self.directory} -c listen_addresses= -F"
        log = os.path.join(self.directory, "log")
        self.run_as(self.user, "pg_ctl", "-D", self.data, "-w", "-l", log, "-o", options, "start")

    def stop_server(self) -> None:
        """Stop it, whoever is connected."""
        self.run_as(self.user, "pg_ctl", "-D", self.data, "-m", "immediate", "stop")

    def run_as(self, user: str | None, name: str, *arguments: str) -> None:
        directory = _programs()
        assert directory is not None
        done = subprocess.run(
            [os.path.join(directory, name), *arguments],
            user=user,
            cwd=self.directory,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
