"""``mailkit import pop3``: what is refused before anything is fetched. The rest is in interop."""

from __future__ import annotations

import os
import sys
from unittest import mock

import click

from mailkit.client.security import TLSMode
from mailkit.tap.import_command import _find_place, _tls_policy
from tests.support import free_ports, mailkit_command
from tests.tap.test_command import ANN, CommandTestCase

COMMAND = ("import", "pop3", ANN, "--host", "127.0.0.1", "--user", "ann")


class OptionTests(CommandTestCase):
    def check(self, *options: str, wanted: str, input: str = "secret\n", code: int = 2) -> None:
        self.refuse(*COMMAND, *options, wanted=wanted, input=input, code=code)

    def test_options_that_exclude_each_other(self) -> None:
        self.check("--delete", "--leave", wanted="exclude each other")
        self.check("--delete", "--delete-after", "3", wanted="exclude each other")
        self.check("--tls-unverified", "--tls-pin", "00" * 32, wanted="exclude each other")
        self.check("--tls", "none", "--tls-unverified", wanted="no certificates")
        self.check(
            *("--password-stdin", "--password-env", "X", "--tls", "none"),
            wanted="exclude each other",
        )

    def test_values_that_are_none(self) -> None:
        self.check("--tls-pin", "00", wanted="fingerprint")
        self.check("--tls-pin", "zz" * 32, wanted="64 hexadecimal digits")
        self.check("--host", "a b", wanted="'a b' is neither a name")
        self.check("--host", "", wanted="'' is neither a name")
        self.check("--delete-after", "0", wanted="--delete-after")
        self.check("--port", "0", wanted="--port")

    def test_passwords_that_are_not_there(self) -> None:
        self.check("--password-stdin", input="\n", wanted="no password", code=1)
        self.check("--password-env", "MAILKIT_NOTHING", wanted="no password", code=1)
        place = self.mktemp()
        self.check("--password-file", place, wanted=f"cannot read {place}: No such file")

    def test_tokens(self) -> None:
        self.check("--token-file", self.mktemp(), wanted="No such file")
        self.check("--token-file", "x", "--password-stdin", wanted="exclude each other")
        for command, wanted, code in (
            ("", "there is no token", 1),
            ("/nowhere/token", "No such file", 2),
            ("false", "ended with 1", 2),
            ("true", "there is no token", 1),
            ("printf \\\\303\\\\244", "prints no token", 2),
            ("'", "No closing quotation", 2),
        ):
            if command:
                self.check("--token-command", command, wanted=wanted, code=code)

    def test_mechanisms(self) -> None:
        self.check("--mechanism", "NTLM", "--password-stdin", wanted="there is no NTLM")
        with mock.patch.dict(sys.modules, {"gssapi": None}):
            self.check("--mechanism", "gssapi", wanted="twisted-mailkit[gssapi]", code=1)

    def test_a_store_that_is_not_there(self) -> None:
        self.check("--password-stdin", wanted="there is no store")
        self.assertFalse(os.path.exists(self.path))

    def test_places(self) -> None:
        for given, wanted in (
            (None, ("new.example", 995)),
            ("old.example", ("old.example", 995)),
            ("old.example:1100", ("old.example", 1100)),
            ("2001:db8::1", ("2001:db8::1", 995)),
            ("[2001:db8::1]", ("2001:db8::1", 995)),
            ("[2001:db8::1]:1100", ("2001:db8::1", 1100)),
        ):
            self.assertEqual(_find_place(given, "new.example", 995), wanted)
        for wrong in (":110", "old.example:", "old.example:x", "old.example:0", "[]:9", "[]"):
            self.assertRaises(click.BadParameter, _find_place, wrong, "new.example", 995)

    def test_policies(self) -> None:
        def mode(**given: object) -> tuple[TLSMode, bool]:
            options = {"tls": "implicit", "tls_ca": None, "tls_pin": None, "tls_unverified": False}
            policy = _tls_policy({**options, "host": "pop.example", **given})
            return policy.mode, policy.implicit

        self.assertEqual(mode(), (TLSMode.VERIFIED, True))
        self.assertEqual(mode(tls="stls"), (TLSMode.VERIFIED, False))
        self.assertEqual(mode(tls_pin="00" * 32), (TLSMode.PINNED, True))
        self.assertEqual(mode(tls_unverified=True), (TLSMode.REQUIRED, True))
        self.assertEqual(mode(tls="none"), (TLSMode.NONE, False))


class RunTests(CommandTestCase):
    """In a process of its own, as it has a reactor."""

    def check(self, *options: str, wanted: str, address: str = ANN) -> None:
        arguments = [address if each == ANN else each for each in COMMAND]
        done = mailkit_command(
            *("--store", self.store, *arguments, "--password-stdin", *options), input="secret\n"
        )
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn(wanted, done.stderr)
        self.assertNotIn("Traceback", done.stderr)

    def test_refusals(self) -> None:
        self.add()
        self.check(wanted="no such account", address="nobody@example.org")
        self.check("--mailbox", "Nowhere", wanted="No such mailbox")
        (port,) = free_ports(1)
        self.check("--port", str(port), wanted="Cannot connect")
