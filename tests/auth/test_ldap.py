"""Users in a directory: what needs no server. The rest is in tests/interop/test_ldap.py."""

from __future__ import annotations

import sys
from typing import Any
from unittest import mock

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailkit.auth import ldap
from mailkit.auth.names import expand
from mailkit.auth.workers import UnusableAnswer

URL = "ldap://127.0.0.1"


class EscapeTests(SynchronousTestCase):
    def test_all_that_means_something_is_hidden(self) -> None:
        for octet in range(128):
            character = chr(octet)
            escaped = ldap.escape(character)
            plain = character.isalnum()
            self.assertEqual(escaped, character if plain else f"\\{octet:02x}")
        self.assertEqual(ldap.escape("äö"), "\\c3\\a4\\c3\\b6")

    def test_templates(self) -> None:
        self.assertEqual(
            expand("uid=%n,dc=%d", "a,b@example.org", ldap.escape), "uid=a\\2cb,dc=example\\2eorg"
        )
        self.assertEqual(expand("(&(a=%u)(b=%%))", "*", ldap.escape), "(&(a=\\2a)(b=%))")


class SecretTests(SynchronousTestCase):
    def test_who_searches_does_so_by_a_password_that_is_not_shown(self) -> None:
        where = ldap.Where(search="dc=example", bind_dn="cn=mail", bind_password=b"xyz123")
        self.assertEqual(repr(where), "<users at dc=example>")


class BindTests(SynchronousTestCase):
    def test_nobody_is_bound_as_nobody(self) -> None:
        """An entry without a name is the server's own (RFC 4512 section 5.1)."""
        sessions = ldap._Sessions(
            (), ldap.Where(search="dc=x"), False, "ldap", Clock(), threads=1, timeout=1
        )
        self.addCleanup(sessions.close)
        bound: list[str] = []
        connection = mock.Mock()
        sessions._bind = lambda dn, password: bound.append(dn) or connection  # type: ignore[method-assign,func-returns-value]
        for dn in ("uid=ann", ""):
            entry = {"type": "searchResEntry", "dn": dn, "raw_attributes": {}}
            connection.result, connection.response = {"result": 0}, [entry]
            if dn:
                sessions.bind("ann", b"secret")
            else:
                self.assertRaises(UnusableAnswer, sessions.bind, "ann", b"secret")
        # First who searches, then the user.
        self.assertEqual(bound, ["", "uid=ann"])


class SettingTests(SynchronousTestCase):
    def refuse(self, part: str, url: str = URL, **settings: Any) -> None:
        error = self.assertRaises(ValueError, ldap.make, url, **settings)
        self.assertIn(part, str(error))

    def test_what_is_wrong(self) -> None:
        self.refuse("either dn")
        self.refuse("either dn", dn="uid=%u", search="dc=x")
        self.refuse("needs search", dn="uid=%u", password="userPassword")
        self.refuse("%x is none", dn="uid=%x")
        self.refuse("names no user", search="dc=x", filter="(uid=ann)")
        for bad in (
            "",
            "mail=%u",
            "(mail=%u",
            "(&(a=b)(mail=%u)",
            "(mail=%u)x",
            "(mail=%u))",
            ")(",
        ):
            self.refuse("is no filter such as (mail=%u)", search="dc=x", filter=bad)
        self.refuse("bind-password-file", search="dc=x", bind_dn="cn=x")
        self.refuse(
            "cannot read nofile", search="dc=x", bind_dn="cn=x", bind_password_file="nofile"
        )
        self.refuse("ca: cannot read", search="dc=x", ca="nofile")
        self.refuse("threads", search="dc=x", threads=0)
        self.refuse("is no URL", "https://example.org", search="dc=x")
        self.refuse("same way", "ldap://a.example ldaps://b.example", search="dc=x")

    def test_no_password_leaves_the_machine_in_the_clear(self) -> None:
        self.refuse("in the clear", "ldap://ldap.example.org", search="dc=x", start_tls=False)
        for url, given, upgraded in (
            ("ldap://ldap.example.org", None, True),
            ("ldap://ldap.example.org", True, True),
            ("ldaps://ldap.example.org", None, False),
            ("ldap://127.0.0.1:3890", None, False),
            ("ldap://[::1]", None, False),
            ("ldap://localhost", True, True),
            ("ldap://localhost", False, False),
            ("ldapi://%2Frun%2Fslapd%2Fldapi", None, False),
        ):
            self.assertEqual(ldap._begins_in_clear(url, given), upgraded, url)

    def test_a_library_that_is_missing_names_its_extra(self) -> None:
        with mock.patch.dict(sys.modules, {"ldap3": None}):
            error = self.assertRaises(ImportError, ldap.make, URL, search="dc=x")
        self.assertIn("twisted-mailkit[ldap]", str(error))
