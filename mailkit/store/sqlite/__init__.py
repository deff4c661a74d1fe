"""The embedded store: bodies in an append-only log, everything else in one SQLite index."""

from mailkit.store.sqlite.check import Report, check_store
from mailkit.store.sqlite.directory import SQLiteDirectory
from mailkit.store.sqlite.repair import RepairReport, repair_store
from mailkit.store.sqlite.settings import StoreSettings
from mailkit.store.sqlite.store import SQLiteStore

__all__ = [
    "RepairReport",
    "Report",
    "SQLiteDirectory",
    "SQLiteStore",
    "StoreSettings",
    "check_store",
    "repair_store",
]
