"""Names of users in user bases: letter case, and names without their domain."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

from mailkit.wire.domains import canonical_domain
from mailkit.wire.saslprep import MAX_TEXT, Unprepared, saslprep

_PLACEHOLDER = re.compile(r"%(.?)", re.DOTALL)


def canonical_name(name: str) -> str:
    """In lower case and NFC, with the domain as DNS has it, as directories compare addresses.

    What is too long for a name is in lower case alone.
    """
    local, at, domain = name.rpartition("@")
    if not at:
        local = name
    if not local.isascii() and len(local) <= MAX_TEXT:
        local = unicodedata.normalize("NFC", unicodedata.normalize("NFC", local).lower())
    return f"{local.lower()}@{canonical_domain(domain)}" if at else local.lower()


def prepared_name(login: str) -> str | None:
    """What a name becomes by SASLprep (RFC 4616 section 2); None where it stays as it is, or cannot be
    prepared.

    For a name that is nobody's as it stands: the stores and user bases keep names that it would change.
    """
    if login.isascii():
        return None
    try:
        prepared = saslprep(login, query=True)
    except Unprepared:
        return None
    return prepared if prepared and prepared != unicodedata.normalize("NFC", login) else None


def domain_of(name: str) -> str:
    """The domain of a canonical name; empty for one without."""
    _, at, domain = name.rpartition("@")
    return domain if at else ""


def local_name(name: str, domains: Sequence[str]) -> str | None:
    """A canonical name without its domain, when that is one of these; None otherwise."""
    local, at, domain = name.rpartition("@")
    return local if at and domain in domains else None


def complete_name(name: str, domains: Sequence[str]) -> str:
    """A canonical name with its domain: the first of these, when it has none."""
    return name if "@" in name or not domains else f"{name}@{domains[0]}"


def values_of(name: str) -> dict[str, str]:
    """What stands for ``%u`` (the name), ``%n`` (its local part) and ``%d`` (its domain)."""
    local, at, domain = name.rpartition("@")
    return {"u": name, "n": local if at else name, "d": domain if at else ""}


def expand(template: str, name: str, escape: Callable[[str], str] = lambda text: text) -> str:
    """A template with the values of a name in their places, and ``%`` for ``%%``.

    :param escape: makes each of them safe where it stands.
    :raises ValueError: there is another placeholder.
    """
    values = values_of(name)

    def value(found: re.Match[str]) -> str:
        if found[1] == "%":
            return "%"
        if found[1] not in values:
            raise ValueError(f"{found[0]} is none of %u, %n, %d and %%")
        return escape(values[found[1]])

    return _PLACEHOLDER.sub(value, template)
