"""``[queue.etrn]``: who may ask for the mail of a domain."""

from __future__ import annotations

from typing import Any

from mailkit.errors import MailError
from mailkit.queue.starting import Fetcher, QueueStarter
from mailkit.store.addresses import canonical_address, valid_domain
from mailkit.tap.errors import SettingError
from mailkit.wire.networks import Networks


def make_starter(table: Any) -> QueueStarter:
    """What lets clients start the queue.

    :param table: accounts, addresses and networks by domain.
    :raises SettingError: something is none of these.
    """
    if not isinstance(table, dict):
        raise SettingError("etrn is a table: accounts, addresses and networks by domain")
    return QueueStarter({name: _fetcher(name, texts) for name, texts in table.items()})


def _fetcher(name: str, texts: Any) -> Fetcher:
    try:
        valid_domain(name)
    except MailError as error:
        raise SettingError(f"etrn: {name!r} is no domain") from error
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not all(isinstance(each, str) for each in texts):
        raise SettingError(f"etrn: {name} must be a list of accounts, addresses and networks")
    try:
        accounts = [canonical_address(each) for each in texts if "@" in each]
        return Fetcher(accounts, Networks(each for each in texts if "@" not in each))
    except (MailError, ValueError) as error:
        raise SettingError(f"etrn: {name}: {error}") from error
