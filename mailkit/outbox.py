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
import math
import secrets
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from mailkit.model import MAX_TIME, Envelope, normal_envelope
from mailkit.store.envelopes import dump_envelope, dump_recipient, load_envelope, load_recipient

#: The table, and what is told of it by NOTIFY of PostgreSQL.
TABLE = "mailkit_outbox"

#: Octets of a message, as SMTP takes them too unless it is told otherwise; characters of an envelope.
MAX_MESSAGE = 50 * 1024 * 1024
MAX_ENVELOPE = 4 * 1024 * 1024
#: Octets of a key.
MAX_KEY = 255

# The simple types of its fields, and what may stand for each.
_PLAIN: Mapping[Any, Any] = {
    bool: bool,
    float: (float, int),
    int: int,
    str: str,
    NoneType: NoneType,
}

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

    :param envelope: such as :func:`mailkit.smtp.client.make_envelope` makes, as
        :func:`mailkit.model.normal_envelope` takes it.
    :param message: header and body, with CRLF line ends.
    :returns: its key, by which the queue knows it.
    :raises ValueError: there are no recipients, the envelope has what none can have, or more than
        :data:`MAX_ENVELOPE`, or the message more than :data:`MAX_MESSAGE`.
    :raises TypeError: the message is no octets.
    """
    if not isinstance(message, bytes):
        raise TypeError(f"a message is octets, not {type(message).__name__}")
    envelope = normal_envelope(envelope)
    _check(envelope)
    text = dump(envelope)
    key = secrets.token_hex(16)
    check_size(len(message), len(text), len(key))
    values = key, text, message
    if is_sqlite(connection):
        connection.execute(f"INSERT INTO {TABLE} (key, envelope, message) VALUES (?, ?, ?)", values)
    else:
        connection.execute(
            f"INSERT INTO {TABLE} (key, envelope, message) VALUES (%s, %s, %s)", values
        )
        # Told when it commits; two in one transaction are told once.
        connection.execute(f"NOTIFY {TABLE}")
    return key


def check_size(message: int, envelope: int, key: int) -> None:
    """Whether a row may be that large, which is in memory as a whole when it is moved.

    :param message: octets.
    :param envelope: characters, as the table has it.
    :param key: octets.
    :raises ValueError: it is larger.
    """
    if message > MAX_MESSAGE:
        raise ValueError(f"a message has at most {MAX_MESSAGE} octets, not {message}")
    if envelope > MAX_ENVELOPE:
        raise ValueError(f"an envelope has at most {MAX_ENVELOPE} characters, not {envelope}")
    if key > MAX_KEY:
        raise ValueError(f"a key has at most {MAX_KEY} octets, not {key}")


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
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"this is no envelope of ours: {error}") from error
    envelope = replace(envelope, recipients=recipients)
    _check(envelope)
    return envelope


def _check(envelope: Envelope) -> None:
    """:raises ValueError: a field is of another type, or has what the queue cannot keep."""
    for name, kind in _fields(Envelope).items():
        if not _fits(value := getattr(envelope, name), kind):
            raise ValueError(f"{name} of an envelope cannot be {value!r:.100}")
    if not envelope.recipients or any(each.path.is_null for each in envelope.recipients):
        raise ValueError("a message needs recipients")


@lru_cache(maxsize=16)
def _fields(kind: type) -> Mapping[str, Any]:
    return get_type_hints(kind)


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a type that the fields of an envelope have."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(_fits(value, each) for each in arguments)
    if origin is None and kind in _PLAIN:
        return isinstance(value, _PLAIN[kind]) and _is_kept(value)
    if origin is None:
        return isinstance(value, kind) and all(
            _fits(getattr(value, name), each) for name, each in _fields(kind).items()
        )
    if not isinstance(value, (list, tuple) if origin is list else origin):
        return False
    if isinstance(value, Mapping):
        keys, values = arguments
        return all(_fits(key, keys) and _fits(each, values) for key, each in value.items())
    return all(_fits(each, arguments[0]) for each in value)


def _is_kept(value: object) -> bool:
    if isinstance(value, str):
        # UTF-8 has no surrogates.
        return value.isascii() or not any("\ud800" <= each <= "\udfff" for each in value)
    return not isinstance(value, (int, float)) or (math.isfinite(value) and abs(value) <= MAX_TIME)
