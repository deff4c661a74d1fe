"""Languages and catalogues; every text that may reach a person is in each of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from mailkit import errors
from mailkit.imap.handlers.authenticated import NAMESPACE_TITLES
from mailkit.queue.reports import ReportTexts
from mailkit.translation import (
    LANGUAGES,
    MAX_TEXT,
    checked_language,
    find_language,
    is_language_range,
    read_catalogue,
    translate,
)
from tests.support import ROOT

OTHERS = sorted(set(LANGUAGES) - {"en", "i-default"})
#: Where texts for users are made; what only administrators and programs see stays English.
SOURCES = [
    "mailkit/imap/*.py",
    "mailkit/imap/handlers/*.py",
    "mailkit/auth/app_passwords.py",
    "mailkit/auth/realm.py",
    "mailkit/model.py",
    "mailkit/pop3/*.py",
    "mailkit/store/annotations.py",
    "mailkit/store/labels.py",
    "mailkit/store/memory_account.py",
    "mailkit/store/memory_keywords.py",
    "mailkit/store/memory_mailbox.py",
    "mailkit/store/metadata.py",
    "mailkit/store/naming.py",
    "mailkit/store/sharing/*.py",
]
#: Functions whose first argument is such a text, besides the classes of errors.
SAYING = frozenset(
    [
        "bye",
        "complete",
        "err",
        "err_line",
        "no",
        "ok",
        "ok_line",
        "CommandError",
        "ConversionError",
        "InvalidMailboxName",
        "LoginTooSoon",
        "MailboxGone",
        "NoSuchNumber",
    ]
)

_REMARKS = re.compile(rb"\* (?:OK|NO) (?:\[[^\]]*\] )?([^\[%\r\n][^%\r\n]*)\r\n")


class LookupTests(SynchronousTestCase):
    def test_rfc_4647(self) -> None:
        for ranges, tag in (
            (["de"], "de"),
            (["DE-de-1996"], "de"),
            (["fr-CA", "en-CA"], "en"),
            (["ru-Cyrl-x-private"], "ru"),
            (["de-x"], "de"),
            (["I-Default"], "i-default"),
            (["fr", "*"], "en"),
            (["*", "ru"], "en"),
            (["mul"], None),
            (["i"], None),
            ([], None),
        ):
            self.assertEqual(find_language(ranges), tag, ranges)
        self.assertEqual(find_language(["*"], "ru"), "ru")

    def test_ranges(self) -> None:
        for text in ("de", "de-AT", "*", "i-default", "zh-Hant-TW-1"):
            self.assertTrue(is_language_range(text), text)
        for text in ("", "-", "de-", "de--at", "d1", "toolonglanguage", "de-*", "d e", "ä"):
            self.assertFalse(is_language_range(text), text)

    def test_names_of_settings(self) -> None:
        self.assertEqual(checked_language("DE"), "de")
        self.assertIn("known are de, en", str(self.assertRaises(ValueError, checked_language, "x")))


class TranslateTests(SynchronousTestCase):
    def test_fixed_and_filled_in(self) -> None:
        self.assertEqual(translate("The mailbox is full", "de"), "Das Postfach ist voll")
        self.assertEqual(translate("The mailbox is full", "en"), "The mailbox is full")
        self.assertEqual(translate("NOOP completed", "de"), "NOOP ausgeführt")
        self.assertEqual(
            translate("A mailbox name has at most 32 levels", "ru"),
            "\u0412 имени почтового ящика не более 32 уровней",
        )
        self.assertEqual(translate("a\nb {0} is no search: c", "de"), "a\nb {0} ist keine Suche: c")

    def test_unknown_and_long_texts_stay(self) -> None:
        for text in ("Nobody knows this", "", "x" * MAX_TEXT + " completed"):
            self.assertEqual(translate(text, "de"), text)


def _templates(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.Constant(value=str(text)) if text:
            yield text
        case ast.JoinedStr(values=values):
            yield "".join(v.value if isinstance(v, ast.Constant) else "{}" for v in values)
        case ast.IfExp(body=body, orelse=orelse):
            yield from _templates(body)
            yield from _templates(orelse)


def _names(node: ast.Assign) -> list[str]:
    return [target.id for target in node.targets if isinstance(target, ast.Name)]


def _texts() -> Iterator[str]:
    """All texts that users may see, as catalogues name them."""
    refusals = {
        name: cls
        for name, cls in vars(errors).items()
        if isinstance(cls, type) and issubclass(cls, errors.MailError)
    }
    yield from (cls.default_text for cls in refusals.values())
    yield from NAMESPACE_TITLES
    yield from ReportTexts()
    for pattern in SOURCES:
        for path in sorted(ROOT.glob(pattern)):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
                    yield from (text.decode() for text in _REMARKS.findall(node.value))
                elif isinstance(node, ast.Assign) and _names(node) == ["default_text"]:
                    yield from _templates(node.value)
                elif isinstance(node, ast.Call) and node.args:
                    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                    if name == "refuse" and len(node.args) == 3:
                        yield from _templates(node.args[2])
                    if name in SAYING or name in refusals:
                        yield from _templates(node.args[0])


class CatalogueTests(SynchronousTestCase):
    def test_every_text_is_translated_and_nothing_else(self) -> None:
        texts = {re.sub(r"^[\w {}]+ completed$", "{} completed", text) for text in _texts()}
        self.assertGreater(len(texts), 100)
        for tag in OTHERS:
            catalogue = read_catalogue(tag)
            self.assertEqual(texts - set(catalogue), set(), f"missing in {tag}.json")
            self.assertEqual(set(catalogue) - texts, set(), f"not used any more, in {tag}.json")

    def test_catalogues_are_well_made(self) -> None:
        for tag in OTHERS:
            catalogue = read_catalogue(tag)
            self.assertEqual(list(catalogue), sorted(catalogue))
            for text, other in catalogue.items():
                self.assertEqual(text.count("{}"), other.count("{}"), text)
                self.assertTrue(other.isprintable() and other.strip() == other, other)
                # What a response line cannot begin with (RFC 3501 section 9).
                self.assertNotIn(other[:1], ("[", ""), text)

    def test_every_text_is_found(self) -> None:
        for tag in OTHERS:
            for text, other in read_catalogue(tag).items():
                self.assertEqual(translate(text, tag), other)
