"""Mail that is sent if, and only if, a program's own transaction commits.

::

    with connection:                       # sqlite3, or psycopg
        connection.execute("UPDATE orders SET state = 'paid' WHERE id = 17")
        outbox.add(connection, make_envelope("shop@example.org", customer), octets)

The message is a row beside the program's own. Whoever runs the queue moves it there after the commit
(:mod:`mailkit.tap.outbox`), exactly once: the row's key goes along, and the queue takes no key twice.

This module needs no Twisted; psycopg is needed only by whoever uses PostgreSQL.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from typing import Any, NamedTuple

from mailkit.model import Envelope
from mailkit.store.envelopes import dump_envelope, dump_recipient, load_envelope, load_recipient

#: The table, and what is told of it by NOTIFY of PostgreSQL.
TABLE = "mailkit_outbox"

#: DDL for SQLite.
SQLITE = f"""CREATE TABLE IF NOT EXISTS {TABLE} (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    envelope TEXT NOT NULL,
    message BLOB NOT NULL,
    problem TEXT
)"""
#: DDL for PostgreSQL.
POSTGRES = f"""CREATE TABLE IF NOT EXISTS {TABLE} (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    envelope TEXT NOT NULL,
    message BYTEA NOT NULL,
    problem TEXT
)"""


class Row(NamedTuple):
    """A message that waits in the table."""

    id: int
    #: Names the submission; never used for another.
    key: str
    envelope: str
    message: bytes


def is_sqlite(connection: Any) -> bool:
    """Whether a connection is of the module sqlite3, and not of psycopg.

    :raises TypeError: it is of neither.
    """
    names = {kind.__module__.partition(".")[0] for kind in type(connection).__mro__}
    if "sqlite3" in names:
        return True
    if "psycopg" in names:
        return False
    raise TypeError(f"{connection!r} is no connection of sqlite3 or psycopg")


def create_table(connection: Any) -> None:
    """Make the table, where there is none yet; the caller commits."""
    ddl = SQLITE if is_sqlite(connection) else POSTGRES
    connection.execute(ddl)


def add(connection: Any, envelope: Envelope, message: bytes) -> str:
    """Have a message sent when the caller commits.

    :param envelope: such as :func:`mailkit.smtp.client.make_envelope` makes.
    :param message: header and body, with CRLF line ends.
    :returns: its key, by which the queue knows it.
    :raises ValueError: there are no recipients.
    :raises TypeError: the message is no octets.
    """
    if not isinstance(message, bytes):
        raise TypeError(f"a message is octets, not {type(message).__name__}")
    if not envelope.recipients:
        raise ValueError("a message needs recipients")
    key = secrets.token_hex(16)
    values = key, dump(envelope), message
    if is_sqlite(connection):
        connection.execute(f"INSERT INTO {TABLE} (key, envelope, message) VALUES (?, ?, ?)", values)
    else:
        connection.execute(
            f"INSERT INTO {TABLE} (key, envelope, message) VALUES (%s, %s, %s)", values
        )
        # Told when it commits; two in one transaction are told once.
        connection.execute(f"NOTIFY {TABLE}")
    return key


def dump(envelope: Envelope) -> str:
    """An envelope as the table has it."""
    recipients = [json.loads(dump_recipient(each)) for each in envelope.recipients]
    return json.dumps({"envelope": json.loads(dump_envelope(envelope)), "recipients": recipients})


def load(text: str) -> Envelope:
    """What :func:`dump` wrote.

    :raises ValueError: it did not.
    """
    try:
        fields = json.loads(text)
        envelope = load_envelope(json.dumps(fields["envelope"]))
        recipients = [load_recipient(json.dumps(each)) for each in fields["recipients"]]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"this is no envelope of ours: {error}") from error
    if not recipients:
        raise ValueError("the envelope has no recipients")
    return replace(envelope, recipients=recipients)
