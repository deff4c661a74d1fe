"""Who gets mail for an address: the rules that every directory shares. No I/O of its own.

A local part is tried as it stands, then without its sub-address (RFC 5233), then the domain's
catch-all gets it; at each step an account goes before an alias. A catch-all that names another
domain makes of its own an alias of that one. Addresses are kept and looked up in
the canonical form that :func:`canonical_address` makes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import Protocol

from mailkit.errors import LimitExceeded, MailError, NoSuchRecipient, RelayDenied
from mailkit.model import Path, Resolution
from mailkit.wire.domains import canonical_domain
from mailkit.wire.saslprep import MAX_TEXT

#: Aliases that name aliases: how many in a row are followed.
MAX_ALIAS_DEPTH = 10
#: Addresses that one alias may lead to, those on the way included.
MAX_ALIAS_TARGETS = 1000
#: Octets of a local part and a domain (RFC 5321 section 4.5.3.1).
MAX_LOCAL_PART = 64
MAX_DOMAIN = 255

#: RFC 5321 section 4.5.1: the one address that works everywhere.
POSTMASTER = "postmaster"

DELEGATE_EXISTS = "The account may send as that address already"
NO_DELEGATE = "The account has not been allowed to send as that address"

# What an administrator may write without quotes, and with them (RFC 5321 section 4.1.2).
_ATOM = r"""[^\s"(),.:;<>@\[\\\]]+"""
_DOT_STRING = re.compile(rf"{_ATOM}(?:\.{_ATOM})*\Z")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)+"\Z')
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\Z")


class AddressBook(Protocol):
    """What a directory looks up; every argument is in canonical form."""

    def is_domain(self, domain: str) -> Awaitable[bool]:
        """Whether the domain is ours."""

    def list_domains(self) -> Awaitable[Sequence[str]]:
        """Our domains, sorted."""

    def find_address(self, address: str) -> Awaitable[str | None]:
        """Name of the account that has this address, or None."""

    def find_alias(self, address: str) -> Awaitable[Sequence[str] | None]:
        """Targets of the alias or the catch-all (``@domain``), or None."""

    def is_delegate(self, account: str, address: str) -> Awaitable[bool]:
        """Whether the account was allowed to send as that address (or ``@domain``)."""

    def first_account(self) -> Awaitable[str | None]:
        """Name of the account that was made first, or None."""


def canonical_local_part(local_part: str) -> str:
    """Lower case, in Unicode's NFC unless it is too long for a name; never fails.

    Not ``casefold``, which would make one person of ``weiß`` and ``weiss``.
    """
    if local_part.isascii():
        return local_part.lower()
    text = local_part.lower()
    if len(local_part) <= MAX_TEXT:
        text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", local_part).lower())
    # A lone surrogate (from a command line in another encoding) names nobody, and can't be stored.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def canonical_address(address: str) -> str:
    """Check an address that an administrator gave: ``ann@example.org``.

    :raises MailError: it is none.
    """
    local, domain = _split(address)
    return f"{canonical_local_part(local)}@{domain}"


def _split(address: str) -> tuple[str, str]:
    """The unquoted local part, in its own case, and the canonical domain."""
    address = address.strip()
    local, at, domain = address.rpartition("@")
    if not at:
        raise MailError(f"Not a full address, such as ann@example.org: {address!r}")
    if _QUOTED.match(local):
        local = re.sub(r"\\(.)", r"\1", local[1:-1])
    elif not _DOT_STRING.match(local):
        raise MailError(f"Not an address: {address!r}")
    if not local.isprintable() or len(local.encode()) > MAX_LOCAL_PART:
        raise MailError(f"Not an address that can get mail: {address!r}")
    return local, valid_domain(domain)


def valid_domain(domain: str) -> str:
    """Check a domain that an administrator gave, and make it canonical.

    :raises MailError: it is not a domain; address literals are none.
    """
    canonical = canonical_domain(domain.strip())
    if len(canonical) > MAX_DOMAIN or not all(map(_LABEL.match, canonical.split("."))):
        raise MailError(f"Not a domain: {domain!r}")
    return canonical


def canonical_alias(alias: str) -> str:
    """Check an alias's address, or ``@example.org`` for all that nobody else gets.

    :raises MailError: it is neither.
    """
    alias = alias.strip()
    if alias.startswith("@"):
        return "@" + valid_domain(alias[1:])
    return canonical_address(alias)


def canonical_targets(alias: str, targets: Sequence[str]) -> list[str]:
    """Check the targets of a (canonical) alias; one without a domain lies in the alias's own.

    Local parts of targets keep their case: the target may be elsewhere, or carry a sub-address.
    A catch-all may have whole domains (``@example.org``) as targets.

    :raises MailError: there is none, or one is not an address, or there are too many.
    """
    found: dict[str, str] = {}
    for target in targets:
        target = target.strip()
        if target.startswith("@") and alias.startswith("@"):
            domain = "@" + valid_domain(target[1:])
            if domain == alias:
                raise MailError("A domain cannot be an alias of itself")
            found[domain] = domain
            continue
        if "@" not in target:
            target = f"{target}@{alias.rpartition('@')[2]}"
        local, domain = _split(target)
        found.setdefault(f"{canonical_local_part(local)}@{domain}", f"{local}@{domain}")
    if not found:
        raise MailError("An alias has at least one target")
    if list(found) == [alias]:
        raise MailError("An alias cannot lead to itself alone")
    if len(found) > MAX_ALIAS_TARGETS:
        raise LimitExceeded(f"An alias has at most {MAX_ALIAS_TARGETS} targets")
    return list(found.values())


async def resolve(book: AddressBook, path: Path, *, separator: str = "+") -> Resolution:
    """What :meth:`mailkit.interfaces.IDirectory.resolve` asks for.

    An alias is followed through other aliases. What of it leads nowhere (a loop, an account that is
    gone) is left out, as long as anything remains.

    Mail for Postmaster always arrives where there is any account (RFC 5321 section 4.5.1): without
    domain, or with a domain of ours that has no ``postmaster`` and no catch-all, it goes to the
    ``postmaster`` of another domain of ours, or else to the account that was made first. So it does
    where its alias leads too far, to whomever it would have reached on the way.

    :param separator: between user and detail of a sub-address; empty for none.
    :raises RelayDenied: not a domain of ours.
    :raises NoSuchRecipient: nobody has that address, or its alias leads nowhere.
    :raises LimitExceeded: the alias leads to too many addresses, or through too many aliases.
    """
    walk, problem = await _reach(book, path, separator)
    if problem is not None and canonical_local_part(path.local_part) != POSTMASTER:
        raise problem
    if walk.is_empty:
        raise NoSuchRecipient
    return walk.result()


async def _reach(
    book: AddressBook, path: Path, separator: str
) -> tuple[_Walk, LimitExceeded | None]:
    """Follow an address as far as the limits let it; gives the one that it meets, too.

    :raises RelayDenied: not a domain of ours.
    """
    domain = canonical_domain(path.domain)
    if domain and not await book.is_domain(domain):
        raise RelayDenied
    walk, problem = _Walk(book, separator), None
    if domain and path.local_part:
        try:
            await walk.follow(path.local_part, domain)
        except LimitExceeded as error:
            problem = error
    if walk.is_empty and canonical_local_part(path.local_part) == POSTMASTER:
        await _find_postmaster(walk)
    return walk, problem


async def _find_postmaster(walk: _Walk) -> None:
    for domain in await walk.book.list_domains():
        with suppress(LimitExceeded):
            await walk.follow(POSTMASTER, domain)
        if not walk.is_empty:
            return
    if (account := await walk.book.first_account()) is not None:
        walk.accounts[account] = ""


async def owns_address(
    book: AddressBook, account: str, path: Path, *, separator: str = "+"
) -> bool:
    """Whether mail for that address reaches the account, so that it may send as that address.

    An alias that leads too far counts for whom it reaches within the limits.
    """
    if not path.domain:
        return False
    # A delegate may send as somebody elsewhere.
    with suppress(MailError):
        walk, _ = await _reach(book, path, separator)
        if account in walk.accounts:
            return True
    for address, _ in _candidates(path, separator):
        if await book.is_delegate(account, address):
            return True
    return False


async def find_account(book: AddressBook, login: str) -> str | None:
    """What :meth:`mailkit.interfaces.IDirectory.find_account` asks for."""
    address = await login_address(book, login)
    return None if address is None else await book.find_address(address)


async def login_address(book: AddressBook, login: str) -> str | None:
    """The address that a user name stands for, in canonical form; None when it stands for none."""
    local, at, domain = login.rpartition("@")
    if at:
        return f"{canonical_local_part(local)}@{canonical_domain(domain)}"
    domains = await book.list_domains()
    return f"{canonical_local_part(login)}@{domains[0]}" if len(domains) == 1 else None


def _candidates(path: Path, separator: str) -> list[tuple[str, str]]:
    """What an address is looked up as, each with the detail of the sub-address: as it stands,
    without the detail, as any of its domain."""
    local, domain = canonical_local_part(path.local_part), canonical_domain(path.domain)
    candidates = [(f"{local}@{domain}", "")]
    if separator:
        user, _, _ = local.partition(separator)
        if user and user != local:
            # In its own case: the detail may name a mailbox.
            candidates.append((f"{user}@{domain}", path.local_part.partition(separator)[2]))
    candidates.append((f"@{domain}", ""))
    return candidates


class _Walk:
    """Follows one address through the aliases, breadth first."""

    def __init__(self, book: AddressBook, separator: str) -> None:
        self.book = book
        self.separator = separator
        #: Account name -> detail.
        self.accounts: dict[str, str] = {}
        self.remote: dict[str, Path] = {}
        self.detail = ""
        self._seen: set[str] = set()

    @property
    def is_empty(self) -> bool:
        return not self.accounts and not self.remote

    def result(self) -> Resolution:
        details = set(self.accounts.values())
        # A detail in an alias's target counts where it holds for everybody.
        detail = self.detail or (details.pop() if len(details) == 1 else "")
        return Resolution(tuple(self.accounts), detail, tuple(self.remote.values()))

    async def follow(self, local: str, domain: str) -> None:
        """Collect whoever gets mail for an address in a domain of ours."""
        waiting = [Path(local, domain)]
        for depth in range(MAX_ALIAS_DEPTH + 1):
            found: list[str] = []
            for path in waiting:
                targets, detail = await self._look_up(path)
                if not depth:
                    self.detail = detail
                found.extend(targets)
            waiting = [_path(target) for target in found]
            if not waiting:
                return
        if any(_address(path) not in self._seen for path in waiting):
            # Whoever comes behind would get nothing, and the sender not know it.
            raise LimitExceeded(f"{Path(local, domain)} leads through too many aliases")

    async def _look_up(self, path: Path) -> tuple[Sequence[str], str]:
        """Note an account or a remote address; give an alias's targets, and the sub-address."""
        domain, address = canonical_domain(path.domain), _address(path)
        if address in self._seen:
            return (), ""
        if len(self._seen) > MAX_ALIAS_TARGETS:
            raise LimitExceeded(f"{path} leads to too many addresses")
        self._seen.add(address)
        if not await self.book.is_domain(domain):
            self.remote[address] = Path(path.local_part, domain)
            return (), ""
        for candidate, detail in _candidates(path, self.separator):
            if (account := await self.book.find_address(candidate)) is not None:
                self.accounts.setdefault(account, detail)
                return (), detail
            if (targets := await self.book.find_alias(candidate)) is not None:
                # A domain as the target of a catch-all: the same local part there.
                whole = [f"{path.local_part}{t}" if t.startswith("@") else t for t in targets]
                return whole, detail
        return (), ""


def _address(path: Path) -> str:
    """In canonical form."""
    return f"{canonical_local_part(path.local_part)}@{canonical_domain(path.domain)}"


def _path(target: str) -> Path:
    local, _, domain = target.rpartition("@")
    return Path(local, domain)
