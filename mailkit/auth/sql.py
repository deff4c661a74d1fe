"""Users in a database, by any driver of DB-API 2.0 (PEP 249) and a query of the administrator's.

Names of users are bound to the query, never written into it.
"""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from twisted.logger import Logger
from zope.interface import implementer

from mailkit._typing import override
from mailkit.auth.files import require_readable
from mailkit.auth.names import canonical_name, complete_name, values_of
from mailkit.auth.schemes import DEFAULT_SCHEME, UnreadableHash, find_scheme, with_scheme
from mailkit.auth.workers import (
    MAX_THREADS,
    THREADS,
    TIMEOUT,
    ConnectedWorkers,
    UnusableAnswer,
)
from mailkit.errors import TemporaryFailure
from mailkit.identity import Login
from mailkit.interfaces import IClosableUserBase, IUserLookup

#: Seconds for a connection, and for a query, with drivers whose names for these are known.
CONNECT_TIMEOUT = 10
QUERY_TIMEOUT = 10

#: Columns that have the stored password, and the name of the account.
PASSWORD = "password"
ACCOUNTS = ("account", "user")

# A text, a quoted name, or a placeholder.
_TOKEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|%(.?)", re.DOTALL)

Connect = Callable[[], Any]


class Query(NamedTuple):
    """A query as a driver takes it."""

    text: str
    #: What is bound, in this order or by these names: ``u``, ``n``, ``d``.
    names: Sequence[str]
    by_name: bool

    def parameters(self, values: Mapping[str, str]) -> Any:
        """What is bound for a user."""
        if self.by_name:
            return {name: values[name] for name in self.names}
        return tuple(values[name] for name in self.names)


def make_query(text: str, paramstyle: str) -> Query:
    """Put a driver's placeholders where ``%u``, ``%n`` and ``%d`` stand; ``%%`` is a percent sign.

    :param paramstyle: as PEP 249 has it.
    :raises ValueError: a placeholder is unknown, or stands in quotes; or there is none.
    """
    names: list[str] = []
    percent = "%%" if paramstyle in ("format", "pyformat") else "%"

    def token(found: re.Match[str]) -> str:
        if found[0][0] in "'\"":
            if re.search("%[und]", found[0].replace("%%", "")):
                raise ValueError(f"{found[0]} is bound as a value, so write it without quotes")
            return found[0].replace("%%", "%").replace("%", percent)
        name = found[1]
        if name == "%":
            return percent
        if name not in ("u", "n", "d"):
            raise ValueError(f"{found[0]} is none of %u, %n, %d and %%")
        names.append(name)
        return {
            "qmark": "?",
            "numeric": f":{len(names)}",
            "named": f":{name}",
            "format": "%s",
            "pyformat": f"%({name})s",
        }[paramstyle]

    converted = _TOKEN.sub(token, text)
    if not names:
        raise ValueError("the query names no user: it needs %u, or %n and %d")
    return Query(converted, names, paramstyle in ("named", "pyformat"))


@implementer(IUserLookup, IClosableUserBase)
class SQLUsers:
    """Users in a database.

    Each thread has a connection, which is made again when it breaks. When the database does not
    answer, nobody is told that his password is wrong.

    :param connect: makes a connection; called in a thread.
    :param query: gives the row of a user, with a column ``password``, unless there is only one
        column; and perhaps ``account`` or ``user``, the name of the account.
    :param scheme: of passwords that do not tell theirs.
    :param domains: the first is that of users without one.
    :param begin: a statement before each query, in its transaction.
    :param reactor: Twisted's own when None.
    """

    log = Logger()

    def __init__(
        self,
        connect: Connect,
        query: Query,
        *,
        scheme: str = DEFAULT_SCHEME,
        domains: Sequence[str] = (),
        threads: int = THREADS,
        timeout: float = TIMEOUT,
        begin: str = "",
        reactor: Any = None,
    ) -> None:
        self._query = query
        self._scheme = scheme
        self._domains = tuple(domains)
        self._sessions = _Sessions(
            connect, begin, "mailkit-sql", reactor, threads=threads, timeout=timeout
        )

    async def find_login(self, login: str) -> Login | None:
        name = complete_name(canonical_name(login), self._domains)
        parameters = self._query.parameters(values_of(name))
        try:
            found = await self._sessions.ask(self._query.text, parameters)
        except TemporaryFailure:
            self.log.error("the database of users does not answer in time, or too many ask it")
            raise
        except Exception as error:
            # Whatever a driver raises. Its text may go over many lines.
            reason = " ".join(str(error).split()) or type(error).__name__
            self.log.error("the database of users fails: {reason}", reason=reason)
            raise TemporaryFailure from None
        return None if found is None else self._login(name, *found)

    def _login(self, name: str, columns: Sequence[str], row: Sequence[Any]) -> Login:
        values = dict(zip(columns, row, strict=True))
        stored = values[PASSWORD] if PASSWORD in values else row[0]
        account = next((values[each] for each in ACCOUNTS if values.get(each)), name)
        try:
            account = _text(account)
        except UnicodeDecodeError:
            self.log.error("the database names an account for {name} that is no text", name=name)
            raise TemporaryFailure from None
        return Login(
            complete_name(canonical_name(account), self._domains),
            with_scheme(_text(stored, "replace"), self._scheme) if stored else None,
        )

    async def close(self) -> None:
        self._sessions.close()


def _text(value: Any, errors: str = "strict") -> str:
    """What a column has: drivers give some kinds of text as octets.

    :raises UnicodeDecodeError: octets that are no text, unless ``errors`` says otherwise.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", errors)
    return str(value)


class _Sessions(ConnectedWorkers[Any]):
    """Threads with a connection each."""

    def __init__(self, connect: Connect, begin: str, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._connect = connect
        self._begin = begin

    async def ask(self, text: str, parameters: Any) -> tuple[Sequence[str], Sequence[Any]] | None:
        """Names of the columns, and the only row; None for none.

        :raises UnusableAnswer: there are several rows, or which column is what is not clear.
        """
        return await self.run(
            lambda: self.use(lambda connection: self._execute(connection, text, parameters))
        )

    def _execute(
        self, connection: Any, text: str, parameters: Any
    ) -> tuple[Sequence[str], Sequence[Any]] | None:
        """In a thread."""
        cursor = connection.cursor()
        try:
            if self._begin:
                cursor.execute(self._begin)
            cursor.execute(text, parameters)
            rows = cursor.fetchmany(2)
            columns = [column[0].lower() for column in cursor.description]
        finally:
            cursor.close()
            # Or the transaction would stay open until the next login.
            connection.rollback()
        if len(rows) > 1:
            raise UnusableAnswer("the query gives several rows for one user")
        if PASSWORD not in columns and len(columns) > 1:
            raise UnusableAnswer("none of the query's columns is called password")
        return (columns, rows[0]) if rows else None

    @override
    def connect(self) -> Any:
        return self._connect()

    @override
    def disconnect(self, connection: Any) -> None:
        connection.close()


def make(
    query: str,
    connect: str = "",
    driver: str = "sqlite3",
    scheme: str = DEFAULT_SCHEME,
    threads: int = THREADS,
    timeout: float = TIMEOUT,
    domains: Sequence[str] = (),
) -> SQLUsers:
    """What ``[[auth]]`` with ``base = "sql"`` stands for.

    :raises ValueError: a setting is wrong.
    :raises ImportError: the driver is not installed.
    """
    try:
        module: Any = importlib.import_module(driver)
    except ImportError as error:
        extra = ": pip install 'twisted-mailkit[postgres]'" if driver == "psycopg" else ""
        raise ImportError(f"the driver {driver} cannot be loaded ({error}){extra}") from error
    if not hasattr(module, "paramstyle") or not hasattr(module, "connect"):
        raise ValueError(f"{driver} is no driver of DB-API 2.0")
    try:
        find_scheme(f"{{{scheme}}}$1$")
    except UnreadableHash as error:
        raise ValueError(str(error)) from error
    if not 1 <= threads <= MAX_THREADS:
        raise ValueError(f"threads must be from 1 to {MAX_THREADS}")
    if not connect:
        raise ValueError("connect is missing: the file of SQLite, or what the driver connects to")
    return SQLUsers(
        _connector(driver, module, connect),
        make_query(query, module.paramstyle),
        scheme=scheme,
        domains=domains,
        threads=threads,
        timeout=timeout,
        begin=f"SET LOCAL statement_timeout = {1000 * QUERY_TIMEOUT}"
        if driver == "psycopg"
        else "",
    )


def _connector(driver: str, module: Any, text: str) -> Connect:
    """What makes connections.

    :raises ValueError: the text is not what the driver needs, or names a file that is not there.
    """
    if driver == "sqlite3":
        require_readable(text)
        # Nor is one made that goes missing.
        uri = f"file:{quote(text)}?mode=rw"
        return lambda: module.connect(uri, uri=True, timeout=QUERY_TIMEOUT)
    if driver == "psycopg":
        defaults = {"connect_timeout": CONNECT_TIMEOUT, "tcp_user_timeout": 1000 * QUERY_TIMEOUT}
        try:
            given = module.conninfo.conninfo_to_dict(text)
        except module.Error:
            # The driver's text shows a part, which may be that with the password.
            raise ValueError(
                "connect is not what libpq takes: name=value words, or a URL"
            ) from None
        more = {key: value for key, value in defaults.items() if key not in given}
        return lambda: module.connect(text, **more)
    words = shlex.split(text)
    if len(words) == 1 and "=" not in words[0]:
        return lambda: module.connect(words[0])
    arguments: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError("connect is not name=value words")
        arguments[name] = int(value) if value.isdecimal() else value
    return lambda: module.connect(**arguments)
