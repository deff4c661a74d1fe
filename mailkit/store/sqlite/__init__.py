"""The embedded store: bodies in an append-only log, everything else in one SQLite index.

:func:`mailkit.store.sqlite.check.check_store` and
:func:`mailkit.store.sqlite.repair.repair_store` are for commands, and imported where they are.
"""

from mailkit.store.sqlite.directory import SQLiteDirectory
from mailkit.store.sqlite.settings import StoreSettings
from mailkit.store.sqlite.store import SQLiteStore

__all__ = ["SQLiteDirectory", "SQLiteStore", "StoreSettings"]
