"""An outbox in PostgreSQL that does not answer, without a PostgreSQL."""

from __future__ import annotations

import socket
import struct
import threading
from typing import Any

import pytest
from twisted.trial.unittest import SynchronousTestCase

from mailkit.tap.outbox import PostgresSource

from ..support import PATIENCE

pytest.importorskip("psycopg")


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


#: Of the frontend/backend protocol 3.0: logged in, ready for a statement.
READY = (
    _message(b"R", struct.pack("!i", 0))
    + _message(b"S", b"client_encoding\0UTF8\0")
    + _message(b"S", b"server_version\x0015.0\0")
    + _message(b"K", struct.pack("!ii", 1, 2))
    + _message(b"Z", b"I")
)


class _HastySource(PostgresSource):
    """Whose thread has opened the connection as soon as somebody has looked at one of the two."""

    watched = False

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name in ("_opening", "_connection") and self.watched:
            self.watched = False
            self._connection, self._opening = self._connection or self._opening, None
        return value


class BreakOffTests(SynchronousTestCase):
    def test_while_the_connection_becomes_ready(self) -> None:
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        theirs.settimeout(PATIENCE)
        source = _HastySource("dbname=x")
        source._opening, source.watched = ours, True
        source.break_off()
        theirs.settimeout(0)
        self.assertEqual(theirs.recv(1), b"")


class SilentServerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listening.close)
        self.listening.settimeout(PATIENCE)
        port = self.listening.getsockname()[1]
        self.source = PostgresSource(
            f"host=127.0.0.1 port={port} user=x dbname=x sslmode=disable gssencmode=disable"
        )
        self.problems: list[str] = []
        self.thread = threading.Thread(target=self.list_ids, daemon=True)

    def list_ids(self) -> None:
        try:
            self.source.list_ids(0)
        except self.source.errors as error:
            self.problems.append(str(error))

    def accept(self) -> socket.socket:
        """The client has come, and has sent its first message."""
        self.thread.start()
        connection, _ = self.listening.accept()
        self.addCleanup(connection.close)
        connection.settimeout(PATIENCE)
        self.assertTrue(connection.recv(4096))
        return connection

    def assert_ended(self) -> None:
        self.thread.join(PATIENCE)
        self.assertFalse(self.thread.is_alive())
        self.assertEqual(len(self.problems), 1)

    def test_the_first_statement_is_broken_off(self) -> None:
        connection = self.accept()
        connection.sendall(READY)
        # It asks whether there is a table.
        self.assertTrue(connection.recv(4096))
        self.source.break_off()
        self.assert_ended()

    def test_no_statement_after_it_was_broken_off(self) -> None:
        connection = self.accept()
        self.source.break_off()
        connection.sendall(READY)
        self.assert_ended()
        self.assertNotIn(b"to_regclass", connection.recv(4096))
        self.source.close()
        self.assertFalse(self.source._broken_off)
