"""``[queue.languages]``: in which languages the reports to accounts are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mailkit.errors import MailError
from mailkit.store.addresses import canonical_address, valid_domain
from mailkit.tap.errors import SettingError
from mailkit.translation import checked_language
from mailkit.wire.domains import canonical_domain


def take_languages(table: Any) -> Callable[[str], str | None] | None:
    """What gives the language of an account; None where nothing is set.

    :param table: languages by account, by domain, or by ``.domain`` for its subdomains.
    :raises SettingError: it is something else.
    """
    if table is None:
        return None
    if not isinstance(table, Mapping):
        raise SettingError("languages is a table: write [queue.languages]")
    languages = {}
    for name, value in table.items():
        if not isinstance(value, str):
            raise SettingError(f"languages: {name} must be a text")
        try:
            languages[_canonical(name)] = checked_language(value)
        except (MailError, ValueError) as error:
            raise SettingError(f"languages: {name}: {error}") from error

    def find(account: str) -> str | None:
        found = languages.get(account)
        domain = canonical_domain(account.rpartition("@")[2])
        found = found or languages.get(domain)
        while found is None and "." in domain:
            domain = domain.partition(".")[2]
            found = languages.get(f".{domain}")
        return found

    return find


def _canonical(name: str) -> str:
    """:raises MailError: it is neither an address nor a domain."""
    if "@" in name:
        return canonical_address(name)
    domain = canonical_domain(name)
    valid_domain(domain.removeprefix("."))
    return domain
