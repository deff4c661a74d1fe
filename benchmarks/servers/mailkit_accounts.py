"""Make accounts in a new store of mailkit: STORE PASSWORD ADDRESS..."""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from mailkit.auth.passwords import hash_password
from mailkit.tap.stores import parse_store


async def _make(name: str, password: str, addresses: list[str]) -> None:
    store: Any = parse_store(name)()
    for address in addresses:
        await store.add_account(name=address, password_hash=hash_password(password))
    await store.close()


if __name__ == "__main__":
    _, store, password, *addresses = sys.argv
    react(lambda _: Deferred.fromCoroutine(_make(store, password, addresses)))
