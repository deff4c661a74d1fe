"""Users in a file, as Dovecot's passwd-file has them.

A line is ``user:{SCHEME}hash:uid:gid:gecos:home:shell:extra``.
Of the fields behind the hash only the extra ones are read, and of those ``user=NAME``, another
name of the account, and ``nologin``, which lets mail in and the user not. So do those that restrict
logins in a way that is not known here, such as ``allow_nets``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from twisted.logger import Logger
from zope.interface import implementer

from mailkit.auth.files import require_readable
from mailkit.auth.names import canonical_name, complete_name, local_name
from mailkit.auth.schemes import DEFAULT_SCHEME, UnreadableHash, find_scheme, with_scheme
from mailkit.auth.workers import Workers
from mailkit.clocks import steady_seconds
from mailkit.coroutines import Shared
from mailkit.errors import TemporaryFailure
from mailkit.hiding import hiding
from mailkit.identity import Login
from mailkit.interfaces import IClosableUserBase, IUserLookup

#: Octets of the file; a larger one is not read.
MAX_FILE = 64 * 1024 * 1024
#: Users in it; those behind them are not known.
MAX_USERS = 200_000
#: Octets of a line.
MAX_LINE = 4096
#: Broken lines that are logged each time.
MAX_COMPLAINTS = 20
#: Seconds in which the file is not looked at again.
CHECK_SECONDS = 1.0

#: Extra fields by which Dovecot lets a user in from some networks only, or not by this file.
RESTRICTIONS = ("allow_nets", "allow_real_nets", "noauthenticate", "fail")

# What cannot be the name of a user: RFC 4616 section 2, and what would be another field.
_BAD_NAME = re.compile(r"[\x00-\x20\x7f:]")

#: What of a file tells that it has changed.
_Version = tuple[int, ...]


@hiding("password_hash")
class _Entry(NamedTuple):
    account: str
    #: None for somebody who only gets mail.
    password_hash: str | None


class _Content(NamedTuple):
    entries: Mapping[str, _Entry]
    #: Line numbers, with what is wrong.
    complaints: Sequence[str]


@implementer(IUserLookup, IClosableUserBase)
class PasswdFile:
    """Users in a file. It is read again when it has changed, in a thread.

    A line that is broken is logged with its number; the others count. When the file is missing or
    cannot be read, nobody is told that his password is wrong.

    :param path: the file.
    :param scheme: of hashes without ``{SCHEME}``.
    :param domains: whose users may stand in the file without their domain.
    :param reactor: Twisted's own when None.
    """

    log = Logger()

    def __init__(
        self,
        path: str,
        *,
        scheme: str = DEFAULT_SCHEME,
        domains: Sequence[str] = (),
        reactor: Any = None,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self.path = path
        self.domains = tuple(domains)
        self._scheme = scheme
        self._seconds = steady_seconds(reactor)
        self._workers = Workers("mailkit-passwd-file", reactor, threads=1)
        self._version: _Version | None = None
        self._entries: Mapping[str, _Entry] = {}
        self._checked = float("-inf")
        self._check: Shared[None] | None = None

    async def find_login(self, login: str) -> Login | None:
        await self._refresh()
        name = canonical_name(login)
        entry = self._entries.get(name)
        if entry is None and (local := local_name(name, self.domains)) is not None:
            entry = self._entries.get(local)
        if entry is None:
            return None
        return Login(complete_name(entry.account, self.domains), entry.password_hash)

    async def close(self) -> None:
        self._workers.close()

    async def _refresh(self) -> None:
        """Read the file if it has changed since it was looked at last.

        :raises TemporaryFailure: it cannot be read.
        """
        if self._check is None or self._check.done:
            if self._seconds() < self._checked + CHECK_SECONDS:
                return
            self._check = Shared(self._read_if_changed())
        # Those who come while it is read wait for the same reading.
        await self._check.result()

    async def _read_if_changed(self) -> None:
        version, scheme = self._version, self._scheme
        try:
            found = await self._workers.run(lambda: _read_if_changed(self.path, version, scheme))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            self.log.error("cannot read {path}: {reason}", path=self.path, reason=reason)
            raise TemporaryFailure from None
        self._checked = self._seconds()
        if found is None:
            return
        self._version, content = found
        self._entries = content.entries
        for complaint in content.complaints[:MAX_COMPLAINTS]:
            self.log.warn("{path}, {complaint}", path=self.path, complaint=complaint)
        if len(content.complaints) > MAX_COMPLAINTS:
            left = len(content.complaints) - MAX_COMPLAINTS
            self.log.warn("{path}: {count} more broken lines", path=self.path, count=left)


def _read_if_changed(
    path: str, known: _Version | None, scheme: str
) -> tuple[_Version, _Content] | None:
    """The content and its version, None when that is the known one.

    :raises OSError: the file cannot be read.
    :raises ValueError: it is too large.
    """
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        version = (
            status.st_dev,
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )
        if version == known:
            return None
        octets = file.read(MAX_FILE + 1)
    if len(octets) > MAX_FILE:
        raise ValueError(f"it has more than {MAX_FILE} octets")
    return version, _parse(octets, scheme)


def _parse(octets: bytes, scheme: str) -> _Content:
    entries: dict[str, _Entry] = {}
    complaints: list[str] = []
    for number, line in enumerate(octets.split(b"\n"), 1):
        try:
            parsed = _parse_line(line.rstrip(b"\r"), scheme)
            if parsed is None:
                continue
            name, entry, unknown = parsed
            if name in entries:
                raise ValueError("this user stands above already")
            if len(entries) >= MAX_USERS:
                complaints.insert(0, f"line {number}: users from here on are too many")
                break
        except ValueError as error:
            complaints.append(f"line {number}: {error}")
        else:
            entries[name] = entry
            if unknown:
                text = f"line {number}: {unknown} is not known here, so this user cannot log in"
                complaints.append(text)
    return _Content(entries, complaints)


def _parse_line(line: bytes, scheme: str) -> tuple[str, _Entry, str] | None:
    """
    :returns: a user, and which extra field keeps him out because it is not known here.
    :raises ValueError: it is broken; the text never contains a part of it.
    """
    if not line.strip() or line.startswith(b"#"):
        return None
    if len(line) > MAX_LINE:
        raise ValueError(f"it has more than {MAX_LINE} octets")
    try:
        fields = line.decode("utf-8").split(":", 7)
    except UnicodeDecodeError:
        raise ValueError("it is not in UTF-8") from None
    if len(fields) < 2 or not fields[0] or _BAD_NAME.search(fields[0]):
        raise ValueError("it is not USER:{SCHEME}HASH and more fields")
    name = canonical_name(fields[0])
    extra = dict(part.partition("=")[::2] for part in _extra_fields(fields))
    account = canonical_name(extra.get("user") or name)
    if _BAD_NAME.search(account):
        raise ValueError("user= names no account")
    stored = fields[1]
    # As in /etc/shadow: a hash that begins so is locked.
    if not stored or stored[0] in "!*" or "nologin" in extra:
        return name, _Entry(account, None), ""
    unknown = next((field for field in RESTRICTIONS if field in extra), "")
    if unknown:
        return name, _Entry(account, None), unknown
    stored = with_scheme(stored, scheme)
    find_scheme(stored)
    return name, _Entry(account, stored), ""


def _extra_fields(fields: Sequence[str]) -> list[str]:
    return fields[7].split() if len(fields) > 7 else []


def make(path: str, scheme: str = DEFAULT_SCHEME, domains: Sequence[str] = ()) -> PasswdFile:
    """What ``--auth passwd-file:PATH`` stands for.

    :raises ValueError: the scheme is unknown, or the file cannot be read.
    """
    require_readable(path)
    try:
        find_scheme(f"{{{scheme}}}$1$")
    except UnreadableHash as error:
        raise ValueError(str(error)) from error
    return PasswdFile(path, scheme=scheme, domains=domains)
