"""The embedded store: bodies in an append-only log, everything else in one SQLite index.

:func:`mailkit.store.sqlite.check.check_store` and
:func:`mailkit.store.sqlite.repair.repair_store` are for commands, and imported where they are.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mailkit.store.sqlite.directory import SQLiteDirectory
    from mailkit.store.sqlite.settings import StoreSettings
    from mailkit.store.sqlite.store import SQLiteStore

__all__ = ["SQLiteDirectory", "SQLiteStore", "StoreSettings"]

_MODULES = {"SQLiteDirectory": "directory", "SQLiteStore": "store", "StoreSettings": "settings"}


def __getattr__(name: str) -> Any:
    # Only when asked for: the store's helper, a process of its own, needs none of them.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    return getattr(module, name)
