"""``--store``: names of stores."""

from __future__ import annotations

import os
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mailkit.interfaces import IMailStore
from mailkit.store.memory import MemoryStore
from mailkit.tap.errors import SettingError
from mailkit.tap.stores import (
    DEFAULT_STORE,
    STORE_VARIABLE,
    IStoreScheme,
    default_store,
    open_store,
    parse_store,
    sqlite_directory,
)

#: What tests name as ``tests.tap.test_stores.NAME``.
HERE = __name__
READY = MemoryStore()


def make_store(argument: str = "none") -> MemoryStore:
    store = MemoryStore()
    store.argument = argument  # type: ignore[attr-defined]
    return store


def make_nothing() -> None:
    return None


@implementer(IStoreScheme)
class Scheme:
    """As a plug-in would have it."""

    scheme = "shelf"
    argument = "NUMBER"

    def open_store(self, argument: str) -> MemoryStore:
        return make_store(str(int(argument)))


class StoreTests(SynchronousTestCase):
    """Every way to name a store, and every way to get it wrong."""

    def check(self, spec: str, *wanted: str) -> None:
        text = str(self.assertRaises(SettingError, open_store, spec))
        for part in wanted:
            self.assertIn(part, text)

    def test_memory(self) -> None:
        self.assertIsInstance(open_store("memory:"), MemoryStore)
        self.assertIsNot(open_store("memory:"), open_store("memory:"))
        self.check("memory:x", "nothing after the colon")

    def test_sqlite_needs_a_directory(self) -> None:
        self.check("sqlite:", "sqlite:/var/lib/mailkit")
        self.check("sqlite", "sqlite:/var/lib/mailkit")

    def test_sqlite_below_the_home_directory(self) -> None:
        with mock.patch.dict("os.environ", {"HOME": "/home/ann"}):
            self.assertEqual(sqlite_directory("sqlite:~/mail"), "/home/ann/mail")
        self.assertEqual(sqlite_directory("sqlite:mail"), "mail")
        self.assertIsNone(sqlite_directory("memory:"))

    def test_parsing_opens_nothing(self) -> None:
        place = self.mktemp()
        parse_store(f"sqlite:{place}")
        self.assertFalse(os.path.exists(place))

    def test_dotted_name(self) -> None:
        self.assertEqual(open_store(f"{HERE}.make_store").argument, "none")
        self.assertEqual(open_store(f"{HERE}.make_store:a:b").argument, "a:b")
        self.assertEqual(open_store(f"{HERE}.make_store:").argument, "")

    def test_dotted_name_of_a_store_that_exists(self) -> None:
        self.assertIs(open_store(f"{HERE}.READY"), READY)
        self.check(f"{HERE}.READY:x", "no argument")

    def test_dotted_names_that_are_no_stores(self) -> None:
        self.check("no.such.module", "cannot load no.such.module")
        self.check(f"{HERE}.missing", f"cannot load {HERE}.missing")
        self.check(f"{HERE}.HERE", "neither a store")
        self.check(f"{HERE}.make_nothing", "does not provide IMailStore")

    def test_unknown_scheme_lists_those_that_are_known(self) -> None:
        self.check("shelf:1", "'shelf:1'", "sqlite:DIR", "memory:", "dotted.name")
        self.check("", "sqlite:DIR")

    def test_plugin(self) -> None:
        with mock.patch("twisted.plugin.getPlugins", lambda interface: [Scheme()]):
            store = open_store("shelf:3")
            self.assertEqual(store.argument, "3")
            self.assertTrue(IMailStore.providedBy(store))
            self.check("shelf:x", "shelf:", "'x'")
            self.check("other:1", "shelf:NUMBER")

    def test_default_comes_from_the_environment(self) -> None:
        with mock.patch.dict("os.environ", {STORE_VARIABLE: "memory:"}):
            self.assertEqual(default_store(), "memory:")
        with mock.patch.dict("os.environ", {STORE_VARIABLE: ""}):
            self.assertEqual(default_store(), DEFAULT_STORE)
