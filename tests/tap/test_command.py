"""The ``mailkit`` command, over a store in SQLite."""

from __future__ import annotations

import errno
import shlex
import sqlite3
from pathlib import Path
from unittest import mock

import click
from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from mailkit.auth.passwords import PLAIN_PREFIX, verify_password
from mailkit.interfaces import IDirectoryAdmin
from mailkit.store.memory import MemoryStore
from mailkit.store.sqlite import SQLiteDirectory
from mailkit.tap.command import main
from tests.support import ROOT, mailkit_command

ANN = "ann@example.org"
#: What tests name as a store.
SHARED = MemoryStore()


class CommandTestCase(SynchronousTestCase):
    """Runs commands on a store of its own."""

    def setUp(self) -> None:
        self.path = self.mktemp()
        self.store = f"sqlite:{self.path}"

    def run_command(self, *arguments: str, input: str | bytes = "") -> Result:
        with mock.patch.dict("os.environ", {"MAILKIT_STORE": self.store}):
            return CliRunner().invoke(main, arguments, input=input)

    def succeed(self, *arguments: str, input: str | bytes = "") -> str:
        result = self.run_command(*arguments, input=input)
        self.assertEqual(result.exit_code, 0, result.output)
        return result.output

    def refuse(self, *arguments: str, wanted: str, input: str | bytes = "", code: int = 1) -> None:
        result = self.run_command(*arguments, input=input)
        self.assertEqual(result.exit_code, code, result.output)
        self.assertIn(wanted, result.output)
        self.assertNotIn("Traceback", result.output)

    def add(self, address: str = ANN, password: str = "secret") -> None:
        self.succeed(
            *("account", "add", address, "--password-stdin", "--scheme", "plain"),
            input=f"{password}\n",
        )

    def hash_of(self, account: str = ANN) -> str:
        directory = SQLiteDirectory(self.path)
        self.addCleanup(directory.close)
        stored = self.successResultOf(_deferred(directory.get_password_hash(account=account)))
        assert stored is not None
        return stored


def _deferred(coroutine):  # type: ignore[no-untyped-def]
    from twisted.internet.defer import Deferred

    return Deferred.fromCoroutine(coroutine)


class AccountTests(CommandTestCase):
    """``mailkit account``."""

    def test_add_and_list(self) -> None:
        self.add("bob@example.net")
        self.add()
        self.assertEqual(self.succeed("account", "list"), f"{ANN}\nbob@example.net\n")
        self.assertEqual(self.succeed("domain", "list"), "example.net\nexample.org\n")

    def test_international_domains_are_shown_as_they_are_typed(self) -> None:
        typed, other = "müller@münchen.example", "ann@bücher.example"
        self.add(typed)
        self.add("ann@xn--bcher-kva.example")
        self.assertEqual(self.succeed("account", "list"), f"{other}\n{typed}\n")
        self.assertEqual(self.succeed("domain", "list"), "bücher.example\nmünchen.example\n")
        for name in (typed, "MÜLLER@xn--mnchen-3ya.example"):
            change = self.succeed("account", "passwd", name, "--password-stdin", input="new\n")
            self.assertEqual(change, f"Changed the password of {typed}.\n")
        self.succeed("alias", "add", "info@münchen.example", typed, "ann@xn--bcher-kva.example")
        shown = f"info@münchen.example {typed} {other}\n"
        self.assertEqual(self.succeed("alias", "list"), shown)
        self.succeed("account", "delegate", "add", typed, "@bücher.example")
        shown = f"{typed} @bücher.example\n"
        self.assertEqual(self.succeed("account", "delegate", "list"), shown)
        self.succeed("account", "administrators", "--add", typed)
        self.assertEqual(self.succeed("account", "administrators"), f"{typed}\n")
        self.succeed("acl", "set", typed, "INBOX", other, "lr")
        self.assertIn(f"{other} lr\n", self.succeed("acl", "list", typed, "INBOX"))
        self.assertIn(f": {other}\n", self.succeed("scram", "on"))

    def test_passwords_are_hashed_unless_told_otherwise(self) -> None:
        self.succeed("account", "add", ANN, "--password-stdin", input="secret\nrest\n")
        self.assertTrue(self.hash_of().startswith("$argon2id$"))
        self.assertTrue(verify_password(self.hash_of(), "secret"))
        self.add("bob@example.org", "other")
        self.assertEqual(self.hash_of("bob@example.org"), f"{PLAIN_PREFIX}other")

    def test_the_password_is_asked_for_twice(self) -> None:
        output = self.succeed("account", "add", ANN, input="secret\nsecret\n")
        self.assertNotIn("secret", output)
        self.assertTrue(verify_password(self.hash_of(), "secret"))

    def test_passwords_that_are_none(self) -> None:
        add = ("account", "add", ANN, "--password-stdin")
        self.refuse(*add, input="", wanted="empty")
        self.refuse(*add, input="\r\n", wanted="empty")
        self.refuse(*add, input="x" * 5000, wanted="longer than")
        self.refuse(*add, "--scheme", "plain", input=b"\xff\n", wanted="UTF-8")
        self.assertEqual(self.succeed("account", "list"), "")

    def test_accounts_without_a_password(self) -> None:
        news, lists = "news@example.org", "lists@example.org"
        output = self.succeed("account", "add", news, lists, "--no-password")
        self.assertEqual(output, f"Added {news}.\nAdded {lists}.\n")
        for account in (news, lists):
            self.assertRaises(AssertionError, self.hash_of, account)
        for other in ("--password-stdin", "--scram"):
            self.refuse("account", "add", ANN, "--no-password", other, wanted="neither", code=2)

    def test_several_accounts_and_a_line_for_each(self) -> None:
        add = ("account", "add", "--scheme", "plain")
        bob, carol = "bob@example.org", "carol@example.net"
        output = self.succeed(*add, "--password-stdin", ANN, bob, input="one\ntwo\n")
        self.assertEqual(output, f"Added {ANN}.\nAdded {bob}.\n")
        self.assertEqual(self.hash_of(), f"{PLAIN_PREFIX}one")
        self.assertEqual(self.hash_of(bob), f"{PLAIN_PREFIX}two")
        output = self.succeed(*add, carol, "dave@example.net", input="three\nthree\nfour\nfour\n")
        self.assertLess(output.index(f"{carol}:"), output.index(f"Added {carol}"))
        self.assertLess(output.index(f"Added {carol}"), output.index("dave@example.net:"))
        self.assertEqual(self.hash_of(carol), f"{PLAIN_PREFIX}three")

    def test_of_several_accounts_those_before_a_refusal_are_made(self) -> None:
        add = ("account", "add", "--password-stdin", "--scheme", "plain", ANN)
        bob, carol = "bob@example.org", "carol@example.org"
        self.refuse(*add, bob, carol, input="one\n", wanted=f"{bob}: the password is empty")
        self.assertEqual(self.succeed("account", "list"), f"{ANN}\n")
        self.refuse(*add, input="one\n", wanted=f"{ANN}: the account exists already")
        self.refuse(*add[:-1], bob, "@x", carol, input="1\n2\n3\n", wanted="@x: ")
        self.refuse(*add[:-1], carol, carol, input="1\n2\n", wanted=f"{carol}: ")
        self.assertEqual(self.succeed("account", "list"), f"{ANN}\n{bob}\n{carol}\n")

    def test_octets_that_are_no_text_may_be_a_password(self) -> None:
        self.succeed("account", "add", ANN, "--password-stdin", input=b"\xff\xfe\n")
        self.assertTrue(verify_password(self.hash_of(), b"\xff\xfe"))

    def test_a_password_that_no_client_can_send(self) -> None:
        """RFC 4616 section 2: no NUL."""
        add = ("account", "add", ANN, "--password-stdin")
        self.refuse(*add, input=b"a\0b\n", wanted="cannot have a NUL")

    def test_add_twice(self) -> None:
        self.add()
        self.refuse("account", "add", ANN, wanted=f"{ANN}: the account exists already")
        upper = ANN.upper()
        self.refuse("account", "add", upper, wanted=f"{upper}: the account exists already")

    def test_bad_addresses_are_refused_before_the_password_is_asked_for(self) -> None:
        for address in ("", "ann", "@example.org", "ann@", "a b@example.org", "ann@exa mple"):
            result = self.run_command("account", "add", address)
            self.assertEqual(result.exit_code, 1, address)
            self.assertNotIn("Password", result.output)
            self.assertIn("Error: ", result.output)

    def test_change_the_password(self) -> None:
        self.add()
        change = ("account", "passwd", "ann", "--password-stdin")
        self.assertIn(ANN, self.succeed(*change, input="new\n"))
        self.assertTrue(verify_password(self.hash_of(), "new"))

    def test_unknown_accounts(self) -> None:
        self.add()
        for verb in ("passwd", "remove"):
            wanted = "eve@example.org: no such account"
            self.refuse("account", verb, "eve@example.org", wanted=wanted)

    def test_remove_asks_first(self) -> None:
        self.add()
        self.refuse("account", "remove", ANN, input="n\n", wanted="Aborted")
        self.assertEqual(self.succeed("account", "list"), f"{ANN}\n")
        self.succeed("account", "remove", ANN, input="y\n")
        self.assertEqual(self.succeed("account", "list"), "")

    def test_remove_tells_of_aliases(self) -> None:
        bob, info, robert = "bob@example.org", "info@example.org", "robert@example.org"
        self.add()
        self.add(bob)
        self.succeed("alias", "add", info, ANN, bob)
        self.succeed("alias", "add", robert, bob)
        self.assertEqual(
            self.succeed("account", "remove", bob, "--yes"),
            f"Removed {bob}.\nAlias {info} still names it beside others.\n"
            f"Alias {robert} led there alone: removed.\n",
        )
        self.assertEqual(self.succeed("alias", "list"), f"{info} {ANN} {bob}\n")

    def test_remove_without_asking(self) -> None:
        self.add()
        self.succeed("account", "remove", ANN, "--yes")
        self.assertEqual(self.succeed("account", "list"), "")


class CapabilityTests(CommandTestCase):
    """``mailkit account capabilities``."""

    def test_show_and_set(self) -> None:
        self.add()
        capabilities = "account", "capabilities", ANN
        self.assertEqual(self.succeed(*capabilities), "left out: none\n")
        shown = self.succeed(*capabilities, "--without", "move", "--without", "IDLE")
        self.assertEqual(shown, "left out: IDLE MOVE\n")
        self.assertEqual(self.succeed(*capabilities), "left out: IDLE MOVE\n")
        self.assertEqual(self.succeed(*capabilities, "--all"), "left out: none\n")

    def test_what_is_refused(self) -> None:
        self.add()
        capabilities = "account", "capabilities"
        self.refuse(*capabilities, "eve@example.org", "--all", wanted="no such account")
        self.refuse(*capabilities, ANN, "--without", "FOO", wanted="no capability FOO", code=2)
        self.refuse(*capabilities, ANN, "--all", "--without", "MOVE", wanted="not both", code=2)


def files_lines(octets: str, files: str) -> str:
    return f"octets of files: {octets}\nfiles and directories: {files}\n"


class QuotaTests(CommandTestCase):
    """``mailkit account quota``."""

    def test_show_and_set(self) -> None:
        self.add()
        shown = self.succeed("account", "quota", ANN)
        self.assertEqual(
            shown,
            "storage: 0 octets of no limit\nmessages: 0 of no limit\nmailboxes: 6 of no limit\n"
            + files_lines("as the server says", "as the server says"),
        )
        self.succeed("account", "quota", "--default", "--storage", "2G", "--messages", "100")
        shown = self.succeed("account", "quota", "ann")
        self.assertTrue(
            shown.startswith(f"storage: 0 octets of {2 * 1024**3}\nmessages: 0 of 100\n")
        )
        shown = self.succeed("account", "quota", ANN, "--storage", "none", "--mailboxes", "30")
        self.assertEqual(
            shown,
            "storage: 0 octets of no limit\nmessages: 0 of 100\nmailboxes: 6 of 30\n"
            + files_lines("as the server says", "as the server says"),
        )

    def test_limits_that_are_not_named_stay(self) -> None:
        self.add()
        quota = "account", "quota", ANN
        self.succeed(*quota, "--storage", "5k", "--messages", "100", "--mailboxes", "50")
        shown = self.succeed(*quota, "--mailboxes", "200")
        self.assertIn("storage: 0 octets of 5120\nmessages: 0 of 100\nmailboxes: 6 of 200\n", shown)
        shown = self.succeed(*quota, "--messages", "none")
        self.assertIn(
            "storage: 0 octets of 5120\nmessages: 0 of no limit\nmailboxes: 6 of 200\n", shown
        )
        default = "account", "quota", "--default"
        self.succeed(*default, "--storage", "1k", "--messages", "10")
        self.succeed(*default, "--mailboxes", "20")
        # No limit is one of her own, too, and goes before that of all.
        self.assertEqual(self.succeed(*quota), shown)
        shown = self.succeed(*quota, "--storage", "default", "--messages", "default")
        self.assertIn("storage: 0 octets of 1024\nmessages: 0 of 10\nmailboxes: 6 of 200\n", shown)
        self.succeed(*default, "--storage", "none")
        shown = self.succeed(*quota, "--mailboxes", "default")
        self.assertIn(
            "storage: 0 octets of no limit\nmessages: 0 of 10\nmailboxes: 6 of 20\n", shown
        )

    def test_files(self) -> None:
        self.add()
        quota = "account", "quota", ANN
        self.succeed(*quota, "--storage", "1M")
        for value, octets, files in (
            ("5G", str(5 * 1024**3), "as the server says"),
            ("10k,50", "10240", "50"),
            ("none", "no limit", "no limit"),
            (",7", "as the server says", "7"),
            ("default", "as the server says", "as the server says"),
            ("1k,none", "1024", "no limit"),
        ):
            shown = self.succeed(*quota, "--files", value)
            self.assertTrue(shown.endswith(files_lines(octets, files)), shown)
            # Those of mail are apart.
            self.assertIn(f"storage: 0 octets of {1024**2}\n", shown)
        self.assertEqual(self.succeed(*quota), shown)
        self.succeed(*quota, "--files", "default")
        self.succeed("account", "quota", "--default", "--files", "3k,30")
        self.assertTrue(self.succeed(*quota).endswith(files_lines("3072", "30")))
        self.assertTrue(self.succeed(*quota, "--messages", "9").endswith(files_lines("3072", "30")))

    def test_what_is_refused(self) -> None:
        self.add()
        quota = "account", "quota"
        self.refuse(*quota, "eve@example.org", "--messages", "5", wanted="no such account")
        self.refuse(*quota, ANN, "--storage", "much", wanted="--storage", code=2)
        self.refuse(*quota, ANN, "--storage", "99999999999999G", wanted="--storage", code=2)
        self.refuse(*quota, ANN, "--messages", "-1", wanted="--messages", code=2)
        for value in ("much", "5G,0", "0", "5G,many"):
            self.refuse(*quota, ANN, "--files", value, wanted="--files", code=2)
        self.refuse(*quota, wanted="ADDRESS", code=2)
        self.refuse(*quota, ANN, "--default", wanted="ADDRESS", code=2)
        self.refuse(*quota, "--default", wanted="--default needs", code=2)


class AdministratorTests(CommandTestCase):
    """``mailkit account administrators``."""

    def test_add_list_remove(self) -> None:
        self.add()
        command = "account", "administrators"
        self.assertEqual(self.succeed(*command), "")
        self.assertEqual(self.succeed(*command, "--add", "ann"), f"{ANN}\n")
        self.assertEqual(self.succeed(*command), f"{ANN}\n")
        self.assertEqual(self.succeed(*command, "--remove", ANN), "")
        self.refuse(*command, "--add", "eve@example.org", wanted="no such account")


class DelegateTests(CommandTestCase):
    """``mailkit account delegate``."""

    def test_add_list_remove(self) -> None:
        self.add()
        for address in ("Boss@example.org", "@example.net"):
            self.succeed("account", "delegate", "add", ANN, address)
        shown = f"{ANN} @example.net\n{ANN} boss@example.org\n"
        self.assertEqual(self.succeed("account", "delegate", "list"), shown)
        self.succeed("account", "delegate", "remove", ANN, "boss@example.org")
        self.assertEqual(self.succeed("account", "delegate", "list"), f"{ANN} @example.net\n")

    def test_what_is_refused(self) -> None:
        self.add()
        delegate = "account", "delegate"
        self.refuse(*delegate, "add", "eve@example.org", ANN, wanted="No such account")
        self.refuse(*delegate, "add", ANN, "boss", wanted="Not a full address")
        self.refuse(*delegate, "remove", ANN, "x@example.org", wanted="has not been allowed")
        self.succeed(*delegate, "add", ANN, "x@example.org")
        self.refuse(*delegate, "add", ANN, "x@example.org", wanted="already")


class AliasAndDomainTests(CommandTestCase):
    """``mailkit alias`` and ``mailkit domain``."""

    def test_aliases(self) -> None:
        self.add()
        self.succeed("alias", "add", "info@example.org", ANN, "bob@example.org")
        self.succeed("alias", "add", "@example.org", ANN)
        self.assertEqual(
            self.succeed("alias", "list"),
            f"@example.org {ANN}\ninfo@example.org {ANN} bob@example.org\n",
        )
        self.succeed("alias", "remove", "@example.org")
        self.assertNotIn("@example.org ann", self.succeed("alias", "list").splitlines()[1:])

    def test_aliases_that_cannot_be(self) -> None:
        self.add()
        self.refuse("alias", "add", ANN, "bob@example.org", wanted=f"{ANN}: ")
        self.refuse("alias", "add", "x@nowhere.org", ANN, wanted="x@nowhere.org: ")
        self.refuse("alias", "remove", "x@example.org", wanted="x@example.org: ")
        self.refuse("alias", "add", "x@example.org", wanted="TARGET", code=2)

    def test_domains(self) -> None:
        self.succeed("domain", "add", "Example.ORG")
        self.assertEqual(self.succeed("domain", "list"), "example.org\n")
        self.refuse("domain", "add", "example.org", wanted="example.org: ")
        self.refuse("domain", "remove", "other.org", wanted="other.org: ")
        self.succeed("domain", "remove", "example.org")
        self.assertEqual(self.succeed("domain", "list"), "")

    def test_a_domain_with_accounts_stays(self) -> None:
        self.add()
        self.refuse("domain", "remove", "example.org", wanted="example.org: ")
        self.assertEqual(self.succeed("domain", "list"), "example.org\n")


class HealthTests(CommandTestCase):
    """``mailkit check``, ``repair`` and ``compact``."""

    def test_a_whole_store(self) -> None:
        self.add()
        output = self.succeed("check")
        self.assertIn(f"{self.path}: whole", output)
        self.assertIn("account: 1", output)

    def test_a_damaged_store(self) -> None:
        self.add()
        index = sqlite3.connect(Path(self.path) / "index.sqlite")
        self.addCleanup(index.close)
        index.execute("UPDATE mailbox SET messages = 7 WHERE name = 'INBOX'")
        index.commit()
        self.refuse("check", wanted=f"{self.path}: DAMAGED")

    def test_only_stores_that_exist(self) -> None:
        for command in ("check", "repair", "compact"):
            self.refuse(command, wanted="there is no store in", code=2)
            self.refuse("--store", "memory:", command, wanted="sqlite:DIR", code=2)
        self.assertFalse(Path(self.path).exists())

    def test_compact_and_repair_as_programs(self) -> None:
        # Both may need a reactor, and that of the tests can't be had.
        self.add()
        for command, wanted in (("compact", "octets before"), ("repair", "0 are lost")):
            done = mailkit_command("--store", self.store, command)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn(wanted, done.stdout)
        self.assertEqual(self.succeed("account", "list"), f"{ANN}\n")


class BackupTests(CommandTestCase):
    """``mailkit backup`` and ``restore``."""

    def test_there_and_back(self) -> None:
        self.add()
        destination = self.mktemp()
        output = self.succeed("backup", destination)
        self.assertIn("is backed up in", output)
        self.assertIn("Removed the older backup 000001-", self.succeed("backup", destination))
        self.assertEqual(self.succeed("backup", "--quiet", "--keep", "2", destination), "")
        self.assertEqual(len(list(Path(destination).iterdir())), 2)
        self.refuse("restore", destination, wanted="is not empty")
        self.store = f"sqlite:{self.mktemp()}"
        output = self.succeed("--store", self.store, "restore", destination)
        self.assertIn("mailboxes have a new UIDVALIDITY", output)
        self.assertEqual(self.succeed("--store", self.store, "account", "list"), f"{ANN}\n")

    def test_what_cannot_be(self) -> None:
        self.refuse("backup", self.mktemp(), wanted="there is no store in", code=2)
        self.refuse("restore", self.mktemp(), wanted="does not exist", code=2)
        empty = self.mktemp()
        Path(empty).mkdir()
        self.refuse("restore", empty, wanted="There is no backup in")
        self.refuse("--store", "memory:", "restore", empty, wanted="sqlite:DIR", code=2)

    def test_files_from_elsewhere_are_told_of(self) -> None:
        self.add()
        key = Path(self.mktemp())
        key.write_text("secret")
        destination = self.mktemp()
        self.succeed("backup", "--also", str(key), destination)
        output = self.succeed("--store", f"sqlite:{self.mktemp()}", "restore", destination)
        self.assertIn("Files from elsewhere are in", output)


class PageTests(CommandTestCase):
    def test_the_commands_of_the_page_work_one_after_the_other(self) -> None:
        page = (ROOT / "docs/accounts.md").read_text("utf-8")
        block = page.partition("```sh\n")[2].partition("```")[0]
        self.add("boss@example.org")
        lines = [
            words for line in block.splitlines() if (words := shlex.split(line, comments=True))
        ]
        self.assertEqual(lines.pop(0)[0], "export")
        for program, *arguments in lines:
            self.assertEqual(program, "mailkit")
            answers = "y\n" if arguments[1] == "remove" else "secret\nsecret\n"
            self.succeed(*arguments, input=answers)
        self.assertEqual(self.succeed("account", "list"), "boss@example.org\n")
        self.assertEqual(self.succeed("domain", "list"), "example.org\n")


class StoreOptionTests(CommandTestCase):
    """``--store``."""

    def check(self, store: str, *wanted: str) -> None:
        result = self.run_command("--store", store, "account", "list")
        self.assertEqual(result.exit_code, 2, result.output)
        for part in ("--store", *wanted):
            self.assertIn(part, result.output)

    def test_goes_before_the_environment(self) -> None:
        self.add()
        other = f"sqlite:{self.mktemp()}"
        self.succeed("--store", other, "domain", "add", "example.net")
        self.assertEqual(self.succeed("--store", other, "domain", "list"), "example.net\n")
        self.assertEqual(self.succeed("domain", "list"), "example.org\n")

    def test_looking_makes_no_store(self) -> None:
        self.check(self.store, "there is no store in", "account add")
        self.assertFalse(Path(self.path).exists())

    def test_stores_that_are_none(self) -> None:
        self.check("sqlite:", "sqlite:/var/lib/mailkit")
        self.check("shelf:1", "'shelf:1'")
        self.check("memory:", "inside the server")
        self.check("no.such.module", "cannot load")
        self.check(f"{__name__}.CommandTestCase", "does not provide IMailStore")

    def test_a_directory_that_cannot_be_made(self) -> None:
        Path(self.path).write_text("a file")
        self.refuse("account", "list", wanted="there is no store", code=2)
        self.refuse("domain", "add", "example.org", wanted=f"Cannot open {self.path}")

    def test_somebody_elses_store_is_not_said_to_be_missing(self) -> None:
        self.add()
        denied = PermissionError(errno.EACCES, "Permission denied")
        with mock.patch("os.listdir", side_effect=denied):
            self.check(self.store, f"cannot open {self.path}: Permission denied", "as the user")

    def test_a_file_that_is_no_index(self) -> None:
        Path(self.path).mkdir()
        (Path(self.path) / "index.sqlite").write_text("rubbish " * 1000)
        self.refuse("account", "list", wanted=self.store)

    def test_any_store_with_accounts_will_do(self) -> None:
        self.assertTrue(IDirectoryAdmin.providedBy(SHARED))
        name = f"{__name__}.SHARED"
        self.succeed("--store", name, "domain", "add", "example.edu")
        self.assertEqual(self.succeed("--store", name, "domain", "list"), "example.edu\n")

    def test_help_can_be_followed(self) -> None:
        for arguments in ((), ("account",), ("account", "add"), ("alias", "add"), ("domain",)):
            output = self.succeed(*arguments, "--help")
            self.assertIn("Usage: ", output)
            self.assertNotIn("None", output)

    def test_lists_of_commands_are_not_cut_off(self) -> None:
        groups: list[tuple[click.Group, tuple[str, ...]]] = [(main, ())]
        for group, words in groups:
            output = self.succeed(*words, "--help")
            self.assertNotRegex(output, r"(?m)^  \S.*\.\.\.$")
            for name, command in group.commands.items():
                self.assertIn(f"\n  {name} ", output)
                if isinstance(command, click.Group):
                    groups.append((command, (*words, name)))
