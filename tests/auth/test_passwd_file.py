"""Users in a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase

from mailkit.auth import passwd_file
from mailkit.auth.bases import UserBaseChecker
from mailkit.auth.passwd_file import PasswdFile
from mailkit.auth.passwords import PasswordHasher
from mailkit.errors import TemporaryFailure
from mailkit.testing import UserBaseContract


class FileTestCase(TestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).resolve()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # So that a change is seen at once.
        self.patch(passwd_file, "CHECK_SECONDS", 0.0)

    def open(self, text: str, **settings: Any) -> PasswdFile:
        self.path.write_text(text, "utf-8")
        base = PasswdFile(str(self.path), **settings)
        self.addCleanup(base.close)
        return base

    async def found(self, base: PasswdFile, login: str) -> str | None:
        login_found = await base.find_login(login=login)
        return None if login_found is None else login_found.account


class PasswdFileContractTests(UserBaseContract, FileTestCase):
    async def make_checker(self, users: Mapping[str, str]) -> UserBaseChecker:
        self.lines = "".join(
            # A colon ends the field.
            f"{user}:{{PLAIN.hex}}{password.encode().hex()}:::::\n"
            for user, password in users.items()
        )
        hasher = PasswordHasher()
        self.addCleanup(hasher.close)
        return UserBaseChecker(self.open(f"# users\n\n{self.lines}"), hasher)

    async def break_base(self) -> None:
        self.path.unlink()

    async def mend_base(self) -> None:
        self.path.write_text(self.lines)


class PasswdFileTests(FileTestCase):
    async def test_fields(self) -> None:
        base = self.open(
            "ann@example.org:{PLAIN}a b:1000:1000:Ann, Esq.:/home/ann:/bin/sh:user=Boss@example.org x=y\n"
            "bob@example.org:{PLAIN}\r\n"
            "joe@example.org:{PLAIN}x::::::nologin\n"
            "sue@example.org:!{PLAIN}x\n"
            "eve@example.org:\n"
            "old@example.org:$1$salt$hash:1:1::/:\n"
            "older@example.org:abJnggxhB/yWI"
        )
        found = {
            name: await base.find_login(login=f"{name}@example.org")
            for name in ("ann", "bob", "joe", "sue", "eve", "old", "older", "zoe")
        }
        self.assertEqual(
            {name: login and login[:2] for name, login in found.items()},
            {
                "ann": ("boss@example.org", "{PLAIN}a b"),
                "bob": ("bob@example.org", "{PLAIN}"),
                "joe": ("joe@example.org", None),
                "sue": ("sue@example.org", None),
                "eve": ("eve@example.org", None),
                "old": ("old@example.org", "$1$salt$hash"),
                "older": ("older@example.org", "{CRYPT}abJnggxhB/yWI"),
                "zoe": None,
            },
        )

    async def test_who_may_come_from_some_networks_only_does_not_come_in(self) -> None:
        """Dovecot's files say so; to let them in from everywhere would be worse."""
        base = self.open(
            "ann:{PLAIN}x::::::userdb_x=1 allow_nets=192.0.2.0/24,2001:db8::/32\n"
            "bob:{PLAIN}x::::::allow_real_nets=192.0.2.1\n"
            "joe:{PLAIN}x::::::noauthenticate\n"
            "leo:{PLAIN}x::::::fail\n"
            "sue:{PLAIN}x::::::userdb_allow_nets=192.0.2.1\n"
        )
        with capturedLogs() as logs:
            names = ("ann", "bob", "joe", "leo", "sue")
            found = [await base.find_login(login=name) for name in names]
        self.assertEqual(
            [login and (login.account, login.password_hash) for login in found],
            [("ann", None), ("bob", None), ("joe", None), ("leo", None), ("sue", "{PLAIN}x")],
        )
        told = [formatEvent(event).partition(", ")[2] for event in logs]
        self.assertEqual(
            told,
            [
                f"line {number}: {field} is not known here, so this user cannot log in"
                for number, field in enumerate(passwd_file.RESTRICTIONS, 1)
            ],
        )

    async def test_names_without_domain_are_of_the_domains_of_the_base(self) -> None:
        base = self.open("ann:{PLAIN}x\nann@example.net:{PLAIN}y\n", domains=("example.org",))
        self.assertEqual(await self.found(base, "ann@example.org"), "ann@example.org")
        self.assertEqual(await self.found(base, "ann"), "ann@example.org")
        self.assertEqual(await self.found(base, "ann@example.net"), "ann@example.net")
        self.assertIsNone(await self.found(base, "ann@example.com"))

    async def test_a_base_without_domains_gives_names_as_they_are(self) -> None:
        base = self.open("Ann:{PLAIN}x\n")
        self.assertEqual(await self.found(base, "ANN"), "ann")
        self.assertIsNone(await self.found(base, "ann@example.org"))

    async def test_the_scheme_of_bare_hashes(self) -> None:
        base = self.open("ann:secret\n", scheme="PLAIN")
        login = await base.find_login(login="ann")
        self.assertEqual(login and login.password_hash, "{PLAIN}secret")

    async def test_broken_lines_are_told_by_number_and_the_others_count(self) -> None:
        lines = [
            b"ann@example.org:{PLAIN}secret",
            b"justaname",
            b":{PLAIN}secret",
            b"bob@example.org:{NOSUCH}secret",
            b"\xff:{PLAIN}secret",
            b"ann@example.org:{PLAIN}secret",
            b"joe@example.org:secret",
            b"x" * 5000 + b":{PLAIN}secret",
            b"a b@example.org:{PLAIN}secret",
            b"zoe@example.org:{PLAIN}secret",
        ]
        base = self.open("")
        self.path.write_bytes(b"\n".join(lines))
        with capturedLogs() as logs:
            self.assertEqual(await self.found(base, "zoe@example.org"), "zoe@example.org")
            self.assertEqual(await self.found(base, "ann@example.org"), "ann@example.org")
            self.assertIsNone(await self.found(base, "bob@example.org"))
        texts = [formatEvent(event) for event in logs]
        numbers = [text.partition(", line ")[2].partition(":")[0] for text in texts]
        self.assertEqual(numbers, ["2", "3", "4", "5", "6", "7", "8", "9"])
        self.assertFalse([text for text in texts if "secret" in text])
        self.assertIn("{NOSUCH}", texts[2])

    async def test_complaints_are_not_without_end(self) -> None:
        base = self.open("x\n" * 100)
        with capturedLogs() as logs:
            await self.found(base, "ann")
        self.assertEqual(len(logs), 21)
        self.assertIn("80 more", formatEvent(logs[-1]))

    async def test_it_is_read_again_when_it_has_changed_and_only_then(self) -> None:
        base = self.open("ann:{PLAIN}x\n")
        with mock.patch.object(passwd_file, "_parse", wraps=passwd_file._parse) as parse:
            self.assertIsNone(await self.found(base, "bob"))
            await self.found(base, "ann")
            self.assertEqual(parse.call_count, 1)
            self.path.write_text("bob:{PLAIN}x\n")
            self.assertEqual(await self.found(base, "bob"), "bob")
            self.assertIsNone(await self.found(base, "ann"))
            # Of the same size, and written over by a new file.
            other = self.path.with_suffix(".new")
            other.write_text("joe:{PLAIN}x\n")
            os.replace(other, self.path)
            self.assertEqual(await self.found(base, "joe"), "joe")
            self.assertEqual(parse.call_count, 3)

    async def test_it_is_not_looked_at_all_the_time(self) -> None:
        self.patch(passwd_file, "CHECK_SECONDS", 3600.0)
        base = self.open("ann:{PLAIN}x\n")
        await self.found(base, "ann")
        self.path.unlink()
        self.assertEqual(await self.found(base, "ann"), "ann")

    async def test_a_missing_file_is_no_wrong_password(self) -> None:
        base = self.open("")
        self.path.unlink()
        with capturedLogs() as logs, self.assertRaises(TemporaryFailure):
            await self.found(base, "ann")
        self.assertIn(str(self.path), formatEvent(logs[0]))

    async def test_a_file_that_is_too_large(self) -> None:
        self.patch(passwd_file, "MAX_FILE", 100)
        base = self.open("ann:{PLAIN}x\n" + "#" * 100)
        with capturedLogs() as logs, self.assertRaises(TemporaryFailure):
            await self.found(base, "ann")
        self.assertIn("100 octets", formatEvent(logs[0]))

    async def test_users_that_are_too_many(self) -> None:
        self.patch(passwd_file, "MAX_USERS", 2)
        base = self.open("a:{PLAIN}x\nb:{PLAIN}x\nc:{PLAIN}x\nd:{PLAIN}x\n")
        with capturedLogs() as logs:
            self.assertEqual(await self.found(base, "b"), "b")
            self.assertIsNone(await self.found(base, "c"))
        self.assertEqual(len(logs), 1)
        self.assertIn("line 3", formatEvent(logs[0]))

    async def test_a_closed_one_can_be_used_again(self) -> None:
        base = self.open("ann:{PLAIN}x\n")
        self.assertEqual(await self.found(base, "ann"), "ann")
        await base.close()
        self.assertEqual(await self.found(base, "ann"), "ann")

    def test_settings(self) -> None:
        self.assertRaises(ValueError, passwd_file.make, "x", "NOSUCH")
        path = Path(self.mktemp()).resolve()
        path.touch()
        self.assertEqual(passwd_file.make(str(path), "SSHA", ("example.org",)).path, str(path))
