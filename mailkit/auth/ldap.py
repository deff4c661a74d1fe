"""Users in a directory that speaks LDAP: by binding as the user, or by the password's hash.

ldap3 speaks it, in threads. Names are escaped (RFC 4514, RFC 4515), nobody binds with an empty
password (RFC 4513 section 5.1.2), and no password leaves this machine in the clear.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from twisted.logger import Logger
from zope.interface import alsoProvides, implementer

from mailkit._typing import override
from mailkit.auth.located import NotAsked
from mailkit.auth.names import canonical_name, complete_name, expand
from mailkit.auth.passwords import prepare_password
from mailkit.auth.schemes import with_scheme
from mailkit.auth.workers import (
    MAX_THREADS,
    THREADS,
    TIMEOUT,
    ConnectedWorkers,
    UnusableAnswer,
)
from mailkit.errors import TemporaryFailure
from mailkit.hiding import hiding
from mailkit.identity import Login
from mailkit.interfaces import IClosableUserBase, IPasswordVerifier, IUserLookup
from mailkit.wire.saslprep import MAX_TEXT

#: The extra that brings ldap3.
EXTRA = "ldap"
#: Seconds for a connection, and for an answer.
CONNECT_TIMEOUT = 5
ANSWER_TIMEOUT = 10
#: How users are found.
DEFAULT_FILTER = "(mail=%u)"
#: Octets of the file with the password to search with.
MAX_PASSWORD_FILE = 4096

# RFC 4511 appendix A: what a bind may end with that says something of the user alone.
_SUCCESS = 0
_REFUSALS = frozenset({19, 32, 34, 48, 49, 53})

_PLAIN = re.compile(r"[^A-Za-z0-9]")


def escape(text: str) -> str:
    """A value as it stands in a name (RFC 4514) and in a filter (RFC 4515) alike: all that is neither a
    letter nor a digit as the hexadecimal digits of its octets."""
    return _PLAIN.sub(
        lambda found: "".join(f"\\{octet:02x}" for octet in found[0].encode("utf-8")), text
    )


def _is_plain(name: str) -> bool:
    """Whether a name is compared as it is: LDAP takes away spaces and what nobody sees, and takes
    compatible characters for equal (RFC 4518 section 2), so that one user would have many names."""
    return (
        len(name) <= MAX_TEXT
        and " " not in name
        and name.isprintable()
        and name == unicodedata.normalize("NFKC", name)
    )


def _is_text(password: bytes) -> bool:
    """Whether it can be a password of LDAP's, which is in UTF-8 (RFC 4513 section 5.1.3)."""
    try:
        password.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _reason(error: Exception) -> str:
    """What may be logged: texts of other libraries' exceptions might show what was sent."""
    from ldap3.core.exceptions import LDAPExceptionError

    told = isinstance(error, (LDAPExceptionError, OSError, _ServerTrouble, UnusableAnswer))
    return (" ".join(str(error).split()) if told else "") or type(error).__name__


class Where(NamedTuple):
    """Where a user's entry is: named by a template, or found by a search."""

    #: Distinguished name of an entry, with ``%u``, ``%n`` and ``%d``; empty to search.
    dn: str = ""
    #: Where to search, and for what.
    search: str = ""
    filter: str = DEFAULT_FILTER
    #: Who searches, by this password; nobody when empty.
    bind_dn: str = ""
    bind_password: bytes = b""
    #: Attributes with the account's name and the stored password.
    account: str = ""
    password: str = ""

    @property
    def attributes(self) -> list[str]:
        """What a search asks for."""
        return [name for name in (self.account, self.password) if name] or ["1.1"]

    @override
    def __repr__(self) -> str:
        return f"<users at {self.dn or self.search}>"


@hiding("password")
class _Entry(NamedTuple):
    dn: str
    account: str
    password: str


class _ServerTrouble(Exception):
    """The directory's server says no, for a reason that is not the user's."""


@implementer(IClosableUserBase)
class LDAPUsers:
    """Users in a directory.

    With :attr:`Where.password` the stored passwords are read, and verified like those of other
    bases; otherwise each user is bound as himself. With :attr:`Where.search` the directory can be
    asked for addresses too.

    :param servers: functions that make an ``ldap3.Server``, asked in their order.
    :param start_tls: whether connections begin in the clear and then go over to TLS.
    :param scheme: of stored passwords that do not tell theirs.
    :param domains: the first is that of users without one.
    :param reactor: Twisted's own when None.
    """

    log = Logger()

    def __init__(
        self,
        servers: Sequence[Callable[[], Any]],
        where: Where,
        *,
        start_tls: bool = True,
        scheme: str = "PLAIN",
        domains: Sequence[str] = (),
        threads: int = THREADS,
        timeout: float = TIMEOUT,
        reactor: Any = None,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._where = where
        self._scheme = scheme
        self.at_once = threads
        self._domains = tuple(domains)
        self._sessions = _Sessions(
            servers, where, start_tls, "mailkit-ldap", reactor, threads=threads, timeout=timeout
        )
        if where.search:
            alsoProvides(self, IUserLookup)
        if not (where.search and where.password):
            alsoProvides(self, IPasswordVerifier)

    async def find_login(self, login: str) -> Login | None:
        name = self._name(login)
        if not _is_plain(name):
            return None
        entry = await self._ask(lambda: self._sessions.find(name))
        if entry is None:
            return None
        stored = with_scheme(entry.password, self._scheme) if entry.password else None
        return Login(self._account(entry, name), stored)

    async def verify_password(self, login: str, password: bytes) -> str | None:
        name, octets = self._name(login), prepare_password(password)
        # RFC 4513 section 5.1.2: with an empty password it would bind, as nobody.
        if not octets or not _is_plain(name) or not _is_text(octets):
            raise NotAsked
        entry = await self._ask(lambda: self._sessions.bind(name, octets))
        return None if entry is None else self._account(entry, name)

    async def close(self) -> None:
        self._sessions.close()

    def _name(self, login: str) -> str:
        return complete_name(canonical_name(login), self._domains)

    def _account(self, entry: _Entry, name: str) -> str:
        return complete_name(canonical_name(entry.account or name), self._domains)

    async def _ask(self, work: Callable[[], _Entry | None]) -> _Entry | None:
        try:
            return await self._sessions.run(work)
        except TemporaryFailure:
            self.log.error("the LDAP server does not answer in time, or too many ask it")
            raise
        except Exception as error:
            self.log.error("LDAP fails: {reason}", reason=_reason(error))
            raise TemporaryFailure from None


class _Sessions(ConnectedWorkers[Any]):
    """Threads, each with a connection to search by, and a new one for each user who is bound."""

    def __init__(
        self,
        servers: Sequence[Callable[[], Any]],
        where: Where,
        start_tls: bool,
        *arguments: Any,
        **settings: Any,
    ) -> None:
        super().__init__(*arguments, **settings)
        self._servers = tuple(servers)
        self._where = where
        self._start_tls = start_tls

    # All of these are called in a thread.

    def bind(self, name: str, password: bytes) -> _Entry | None:
        """The entry of a user, bound by his password; None when he is refused."""
        if self._where.dn:
            entry: _Entry | None = _Entry(expand(self._where.dn, name, escape), "", "")
        else:
            entry = self.find(name)
        if entry is None:
            return None
        if not entry.dn:
            # RFC 4513 section 5.1.1: it would bind as nobody, whatever the password.
            raise UnusableAnswer("the search finds an entry without a name")
        connection = self._bind(entry.dn, password)
        try:
            return entry if connection is not None else None
        finally:
            if connection is not None:
                connection.unbind()

    def find(self, name: str) -> _Entry | None:
        """The entry of a user."""
        return self.use(lambda connection: self._search(connection, name))

    def _search(self, connection: Any, name: str) -> _Entry | None:
        where = self._where
        connection.search(
            where.search,
            expand(where.filter, name, escape),
            attributes=where.attributes,
            size_limit=2,
            time_limit=ANSWER_TIMEOUT,
        )
        code = connection.result["result"]
        found = [e for e in connection.response or () if e["type"] == "searchResEntry"]
        if len(found) > 1:
            raise UnusableAnswer("the search finds several entries for one user")
        if code != _SUCCESS:
            # noSuchObject (RFC 4511 appendix A.2), too: it is the place that is not there, or not to be
            # seen, which says nothing of the user.
            description = connection.result["description"]
            raise _ServerTrouble(f"the search below {where.search!r} ends with {description}")
        if not found:
            return None
        attributes = found[0]["raw_attributes"]
        return _Entry(
            found[0]["dn"],
            _first(attributes, where.account),
            _first(attributes, where.password),
        )

    @override
    def connect(self) -> Any:
        where = self._where
        connection = self._bind(where.bind_dn, where.bind_password)
        if connection is None:
            raise _ServerTrouble(f"the server refuses {where.bind_dn}, who is to search")
        return connection

    @override
    def disconnect(self, connection: Any) -> None:
        connection.unbind()

    def _bind(self, dn: str, password: bytes) -> Any:
        """A connection, bound; None when the name and the password are refused."""
        import ldap3
        from ldap3.core.exceptions import LDAPExceptionError

        trouble: Exception | None = None
        for make_server in self._servers:
            connection = ldap3.Connection(
                make_server(),
                dn or None,
                password or None,
                authentication=ldap3.SIMPLE if dn else ldap3.ANONYMOUS,
                auto_referrals=False,
                receive_timeout=ANSWER_TIMEOUT,
                check_names=False,
            )
            try:
                connection.open(read_server_info=False)
                if self._start_tls and not connection.start_tls(read_server_info=False):
                    raise OSError("StartTLS has failed")
                connection.bind(read_server_info=False)
            except (LDAPExceptionError, OSError) as error:
                _close(connection)
                trouble = trouble or error
                continue
            code = connection.result["result"]
            if code == _SUCCESS:
                return connection
            description = connection.result["description"]
            _close(connection)
            if code in _REFUSALS:
                return None
            trouble = trouble or _ServerTrouble(f"the server answers {description}")
        raise trouble or _ServerTrouble("there is no server")


def _close(connection: Any) -> None:
    try:
        connection.unbind()
    except Exception:
        # It is broken; what else it says does not matter.
        pass


def _first(attributes: Any, name: str) -> str:
    """The first value of an attribute that is text; empty without one."""
    if not name:
        return ""
    for key, values in attributes.items():
        if key.lower() == name.lower() and values:
            return bytes(values[0]).decode("utf-8", "replace")
    return ""


def make(
    url: str,
    dn: str = "",
    search: str = "",
    filter: str = DEFAULT_FILTER,
    bind_dn: str = "",
    bind_password_file: str = "",
    account: str = "",
    password: str = "",
    scheme: str = "PLAIN",
    start_tls: bool | None = None,
    ca: str = "",
    threads: int = THREADS,
    timeout: float = TIMEOUT,
    domains: Sequence[str] = (),
) -> LDAPUsers:
    """What ``[[auth]]`` with ``base = "ldap"`` stands for.

    :param url: ``ldap:``, ``ldaps:`` or ``ldapi:`` URLs, with spaces between.
    :param start_tls: None for: unless the server is on this machine.
    :raises ValueError: a setting is wrong.
    :raises ImportError: ldap3 is not installed.
    """
    if bool(dn) == bool(search):
        raise ValueError("give either dn, a template, or search, where users are")
    if password and not search:
        raise ValueError("password is an attribute that a search finds, so it needs search")
    if not 1 <= threads <= MAX_THREADS:
        raise ValueError(f"threads must be from 1 to {MAX_THREADS}")
    for template in (dn, filter):
        expand(template, "x@y")
    if not _is_balanced(filter):
        raise ValueError(f"filter: {filter!r} is no filter such as {DEFAULT_FILTER}")
    if search and expand(filter, "x@y") == expand(filter, "y@x"):
        raise ValueError("the filter names no user: it needs %u, or %n and %d")
    where = Where(dn, search, filter, bind_dn, _read(bind_password_file), account, password)
    if bind_dn and not where.bind_password:
        raise ValueError("bind-dn needs bind-password-file")
    urls = url.split()
    upgraded = {_begins_in_clear(each, start_tls) for each in urls}
    if len(upgraded) != 1:
        raise ValueError("all servers must be reached in the same way: ldap, ldaps or ldapi")
    return LDAPUsers(
        _make_servers(urls, ca),
        where,
        start_tls=upgraded.pop(),
        scheme=scheme,
        domains=domains,
        threads=threads,
        timeout=timeout,
    )


def _read(path: str) -> bytes:
    if not path:
        return b""
    try:
        with open(path, "rb") as file:
            return file.read(MAX_PASSWORD_FILE).rstrip(b"\r\n")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error


def _begins_in_clear(url: str, start_tls: bool | None) -> bool:
    """Whether connections there go over to TLS by StartTLS.

    :raises ValueError: passwords would cross a network in the clear.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("ldap", "ldaps", "ldapi") or not parts.netloc:
        raise ValueError(f"{url!r} is no URL such as ldaps://ldap.example.org")
    if parts.scheme != "ldap":
        return False
    local = _is_local(parts.hostname or "")
    if start_tls is False and not local:
        raise ValueError(f"{url} would carry passwords in the clear")
    return not local if start_tls is None else start_tls


def _is_balanced(text: str) -> bool:
    """Whether one pair of parentheses is around all of it, and each has its other one.

    RFC 4515 section 3: in values they are escaped.
    """
    depth = 0
    for number, sign in enumerate(text, 1):
        depth += (sign == "(") - (sign == ")")
        if depth <= 0 and number < len(text):
            return False
    return depth == 0 and text.startswith("(")


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _make_servers(urls: Sequence[str], ca: str) -> list[Callable[[], Any]]:
    """
    :raises ImportError: ldap3 is not installed.
    :raises ValueError: the file of authorities cannot be read.
    """
    try:
        import ldap3
    except ImportError:
        raise ImportError(f"LDAP needs ldap3: pip install 'twisted-mailkit[{EXTRA}]'") from None
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except OSError as error:
        raise ValueError(f"ca: cannot read {ca}: {error.strerror or error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2

    class VerifyingTLS(ldap3.Tls):  # type: ignore[misc]
        """Lets the standard library compare the certificate's names, as ldap3's own way is old."""

        def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
            connection.socket = context.wrap_socket(
                connection.socket,
                server_hostname=connection.server.host,
                do_handshake_on_connect=do_handshake,
            )

    def make_server(url: str) -> Callable[[], Any]:
        # A new one for each connection, as they remember for a time that they could not be reached.
        return lambda: ldap3.Server(
            url,
            use_ssl=urlsplit(url).scheme == "ldaps",
            tls=VerifyingTLS(validate=ssl.CERT_REQUIRED),
            get_info=ldap3.NONE,
            connect_timeout=CONNECT_TIMEOUT,
        )

    return [make_server(each) for each in urls]
