"""``--auth``: rules, user bases by plug-ins and by name, and what a service makes of them."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

from twisted.cred.checkers import FilePasswordDB, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import Anonymous, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.plugins.cred_file import theFileCheckerFactory
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mailkit.auth import passwd_file
from mailkit.auth.bases import UserBaseChecker
from mailkit.auth.checkers import AuthRule, StoreAccounts
from mailkit.auth.passwd_file import PasswdFile
from mailkit.coroutines import run
from mailkit.errors import NoSuchAccount, NoSuchRecipient, RelayDenied
from mailkit.identity import Login
from mailkit.interfaces import IClosableUserBase, IMailAccount, IMessageDelivery, IUserLookup
from mailkit.model import ConnectionInfo, Envelope, Recipient
from mailkit.model import Path as MailPath
from mailkit.store.memory import MemoryStore
from mailkit.tap import imap, mail
from mailkit.tap.errors import SettingError
from mailkit.tap.settings import LoginSettings
from mailkit.tap.user_bases import UserBaseFactory, parse_rule, parse_table
from tests.tap.test_services import ServiceTestCase
from tests.test_docs import ROOT, fenced_blocks

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = __name__
ENDPOINT = "tcp:0:interface=127.0.0.1"
ANN, BOB = "ann@example.org", "bob@example.org"


@implementer(IUserLookup)
class Friends:
    """A base of somebody else's."""

    closed = 0

    def __init__(self, names: str = "bob") -> None:
        self.names = names.split(",")

    async def find_login(self, login: str) -> Login | None:
        local, _, domain = login.partition("@")
        if local not in self.names or domain not in ("", "example.org"):
            return None
        return Login(f"{local}@example.org", "{PLAIN}secret")

    async def close(self) -> None:
        Friends.closed += 1


MADE = Friends("eve")
NEITHER = object()


def make(path: str, color: float = 0, domains: Any = ()) -> Friends:
    """What :class:`UserBaseFactory` calls."""
    if color == 13:
        raise ImportError("pip install luck")
    friends = Friends(path)
    friends.names.append(f"{color}")
    friends.names.extend(domains)
    return friends


def make_file(test: SynchronousTestCase, name: str) -> str:
    """The path of an empty file of that name."""
    directory = Path(test.mktemp())
    directory.mkdir(parents=True)
    path = directory / name
    path.touch()
    return str(path)


class RuleTests(SynchronousTestCase):
    """What ``--auth`` takes."""

    def base(self, rule: AuthRule) -> Any:
        assert isinstance(rule.checker, UserBaseChecker)
        return rule.checker.base

    def refuse(self, description: str, *parts: str) -> None:
        text = str(self.assertRaises(SettingError, parse_rule, description))
        for part in parts:
            self.assertIn(part, text)

    def test_a_passwd_file(self) -> None:
        path = make_file(self, "users")
        base = self.base(parse_rule(f"passwd-file:{path}"))
        self.assertIsInstance(base, PasswdFile)
        self.assertEqual((base.path, base.domains), (path, ()))
        path = make_file(self, "C:users=x")
        base = self.base(parse_rule(f"passwd-file:{path.replace(':', chr(92) + ':')}:scheme=SSHA"))
        self.assertEqual((base.path, base._scheme), (path, "SSHA"))

    def test_domains(self) -> None:
        path = make_file(self, "users")
        rule = parse_rule(f"Example.ORG, bücher.example=passwd-file:{path}")
        self.assertEqual(rule.domains, ("example.org", "xn--bcher-kva.example"))
        self.assertEqual(self.base(rule).domains, rule.domains)
        self.assertFalse(rule.final)
        rule = parse_rule("example.org=store")
        self.assertIsInstance(rule.checker, StoreAccounts)
        rule = parse_rule("example.org=memory:ann:a=b")
        self.assertIsInstance(rule.checker, InMemoryUsernamePasswordDatabaseDontUse)
        self.assertEqual(parse_rule("memory:ann:a=b").domains, ())

    def test_dotted_names(self) -> None:
        self.assertEqual(self.base(parse_rule(f"{HERE}.Friends")).names, ["bob"])
        self.assertEqual(self.base(parse_rule(f"{HERE}.Friends:ann,joe")).names, ["ann", "joe"])
        self.assertIs(self.base(parse_rule(f"{HERE}.MADE")), MADE)
        self.assertEqual(parse_rule(f"example.org={HERE}.MADE").domains, ("example.org",))

    def test_what_is_wrong(self) -> None:
        self.refuse("nothing:x", "'nothing'", "--help-auth")
        self.refuse("passwd-file", "passwd-file:PATH")
        self.refuse("passwd-file:", "path is missing")
        self.refuse("passwd-file:x:y", "'y'")
        self.refuse(f"passwd-file:{make_file(self, 'x')}:scheme=NOSUCH", "{NOSUCH}")
        self.refuse("anonymous", "anonymous")
        self.refuse("file:", "filename")
        self.refuse(f"{HERE}.NEITHER", "NEITHER")
        self.refuse(f"{HERE}.NOTHING", "cannot load")
        self.refuse(f"{HERE}.MADE:x", "no argument")
        self.refuse("exa mple.org=store", "no domain")
        self.refuse("=store")

    def test_a_file_of_twisted_that_is_not_there(self) -> None:
        path = Path(self.mktemp())
        self.patch(theFileCheckerFactory, "errorOutput", io.StringIO())  # it warns, and goes on
        self.refuse(f"file:{path}", f"cannot read {path}: No such file")
        path.write_text("ann@example.org:secret\n")
        self.assertIsInstance(parse_rule(f"file:{path}").checker, FilePasswordDB)

    def test_a_file_of_ours_that_is_not_there(self) -> None:
        path = Path(self.mktemp())
        self.refuse(f"passwd-file:{path}", f"cannot read {path}: No such file")
        self.refuse(f"sql:SELECT 1 WHERE %u:connect={path}", f"cannot read {path}: No such file")
        path.mkdir(parents=True)
        self.refuse(f"passwd-file:{path}", f"cannot read {path}: Is a directory")

    def test_tables(self) -> None:
        path = make_file(self, "a:b")
        rule = parse_table(
            {"base": "passwd-file", "path": path, "domains": ["example.org"], "failure": "stop"}
        )
        self.assertEqual((rule.domains, rule.final), (("example.org",), True))
        self.assertEqual(self.base(rule).path, path)
        path = make_file(self, "x")
        rule = parse_table({"base": f"passwd-file:{path}", "domains": "example.org"})
        self.assertEqual((rule.domains, rule.final), (("example.org",), False))
        self.assertTrue(parse_table({"base": "store", "failure": "stop"}).final)
        self.assertEqual(self.base(parse_table({"base": f"{HERE}.Friends"})).names, ["bob"])

    def test_what_is_wrong_in_tables(self) -> None:
        for table, part in (
            ({}, "needs a base"),
            ({"base": 1}, "needs a base"),
            ({"base": "passwd-file"}, "path"),
            ({"base": "passwd-file", "path": "x", "colour": "red"}, "colour"),
            ({"base": "passwd-file", "path": ["x"]}, "path"),
            ({"base": "passwd-file:x", "scheme": "SSHA"}, "scheme"),
            (
                {"base": "memory", "argument": "ann:x"},
                "stands in base, as for --auth: 'memory:...'",
            ),
            ({"base": "store", "path": "x"}, "path"),
            ({"base": "store", "domains": [1]}, "domains"),
            ({"base": "store", "domains": ["a..b"]}, "a..b"),
            ({"base": "store", "failure": "never"}, "continue, stop"),
        ):
            error = self.assertRaises(SettingError, parse_table, table)
            self.assertIn(part, str(error))

    def test_a_plug_in_of_somebody_else(self) -> None:
        factory = UserBaseFactory("x", "X.", "path", {"path": str, "color": float}, HERE)
        self.assertEqual(factory.argStringFormat, "PATH[:color=...]")
        self.assertEqual(factory.generateChecker("a,b:color=2").base.names, ["a", "b", "2.0"])
        checker = factory.make_checker({"path": "a"}, ("example.org",))
        self.assertEqual(checker.base.names, ["a", "0", "example.org"])
        for settings, part in (
            ({"path": "a", "color": "red"}, "color: "),
            ({"path": "a", "color": "13"}, "pip install luck"),
        ):
            error = self.assertRaises(SettingError, factory.make_checker, settings)
            self.assertIn(part, str(error))


class OptionTests(SynchronousTestCase):
    def test_the_command_line(self) -> None:
        options = mail.Options()
        options.parseOptions(
            ["--imap", ENDPOINT, "--auth", f"example.org={HERE}.Friends", "--auth", "store"]
        )
        (rule,) = options.auth_rules
        self.assertEqual(rule.domains, ("example.org",))
        self.assertTrue(options.store_accounts)
        error = self.assertRaises(usage.UsageError, mail.Options().opt_auth, "passwd-file")
        self.assertTrue(str(error).startswith("--auth passwd-file: "), error)

    def test_the_settings_file(self) -> None:
        path, users = Path(self.mktemp()), make_file(self, "users")
        path.write_text(
            f'imap = "{ENDPOINT}"\n[[auth]]\nbase = "passwd-file"\npath = "{users}"\n'
            'domains = ["example.org"]\n[[auth]]\nbase = "store"\nfailure = "stop"\n'
        )
        options = mail.Options()
        options.parseOptions(["--config", str(path)])
        self.assertEqual([rule.domains for rule in options.auth_rules], [("example.org",), ()])
        self.assertFalse(options.store_accounts)
        for line in ("auth = 1", "auth = [1]\n", "[[auth]]\nx = 1"):
            path.write_text(f'imap = "{ENDPOINT}"\n{line}')
            error = self.assertRaises(
                usage.UsageError, mail.Options().parseOptions, ["--config", str(path)]
            )
            self.assertIn("auth", str(error))

    def test_help(self) -> None:
        options = imap.Options()
        options.authOutput = io.StringIO()
        self.assertRaises(SystemExit, options.parseOptions, ["--help-auth"])
        self.assertRegex(options.authOutput.getvalue(), r"passwd-file\s+PATH")
        self.assertRaises(SystemExit, options.parseOptions, ["--help-auth-type", "passwd-file"])
        self.assertIn("doveadm pw", options.authOutput.getvalue())


class PageTests(SynchronousTestCase):
    """docs/user-bases.md shows what works."""

    page = ROOT / "docs" / "user-bases.md"

    def test_settings_files(self) -> None:
        blocks = [block for _, block in fenced_blocks(self.page, "toml")]
        tables = [table for block in blocks for table in tomllib.loads(block)["auth"]]
        self.assertGreater(len(tables), 1)
        file = Path(self.mktemp())
        file.write_text("secret")
        for table in tables:
            # Paths of the page's machine.
            table.update(
                (key, str(file))
                for key, value in table.items()
                if key.endswith("-file") or (key in ("path", "connect") and value.startswith("/"))
            )
            parse_table(table)

    def test_the_passwd_file(self) -> None:
        _, block = fenced_blocks(self.page, "text")[0]
        content = passwd_file._parse(block.encode(), "CRYPT")
        self.assertEqual((len(content.entries), content.complaints), (4, []))


class ServiceTests(ServiceTestCase):
    """Log-in and mail location are separate answers."""

    def start(self, **settings: Any) -> Any:
        self.store = MemoryStore()
        self.successResultOf(run(self.store.add_account(name=ANN, password_hash="{PLAIN}secret")))
        service = self.make(self.store, logins=LoginSettings(**settings))
        service.add_imap("tcp:1")
        service.add_smtp("tcp:2")
        service.startService()
        self.addCleanup(self.stop, service)
        return service

    def log_in(self, login: str, password: str) -> Deferred[Any]:
        return self.factory(0).portal.login(
            UsernamePassword(login.encode(), password.encode()),
            ConnectionInfo("imap"),
            IMailAccount,
        )

    def send_to(self, address: str) -> Deferred[None]:
        async def send() -> None:
            portal = self.factory(1).portal
            info = ConnectionInfo("smtp")
            _, delivery, _ = await portal.login(Anonymous(), info, IMessageDelivery)
            recipient = Recipient(MailPath(*address.split("@")))
            envelope = Envelope(info, "client", MailPath("a", "example.net"))
            await delivery.check_recipient(envelope=envelope, recipient=recipient)

        return run(send())

    def accounts(self) -> list[str]:
        return list(self.successResultOf(run(self.store.list_accounts())))

    def test_users_get_accounts_at_their_first_login(self) -> None:
        self.start(checkers=[UserBaseChecker(Friends())])
        found = self.successResultOf(self.log_in("bob", "secret"))
        self.assertEqual(found[1].name, BOB)
        self.failureResultOf(self.log_in("bob", "wrong"), UnauthorizedLogin)
        self.failureResultOf(self.log_in("ann", "secret"), UnauthorizedLogin)
        self.assertEqual(self.accounts(), [ANN, BOB])

    def test_or_with_their_first_mail(self) -> None:
        self.start(checkers=[UserBaseChecker(Friends())])
        self.successResultOf(self.send_to("bob@example.org"))
        self.successResultOf(self.send_to("ann@example.org"))
        self.failureResultOf(self.send_to("eve@example.org"), NoSuchRecipient)
        self.assertEqual(self.accounts(), [ANN, BOB])

    def test_or_none_at_all(self) -> None:
        self.start(checkers=[UserBaseChecker(Friends())], create_accounts=False)
        self.failureResultOf(self.log_in("bob", "secret"), NoSuchAccount)
        self.failureResultOf(self.send_to("bob@example.org"), NoSuchRecipient)
        self.assertEqual(self.accounts(), [ANN])

    def test_rules_and_the_stores_accounts_by_domain(self) -> None:
        rules = [
            AuthRule(UserBaseChecker(Friends()), ("example.org",)),
            AuthRule(StoreAccounts(), ("example.net", "example.org")),
        ]
        self.start(checkers=rules)
        for login in ("bob@example.org", "bob", "ann@example.org"):
            self.successResultOf(self.log_in(login, "secret"))
        self.failureResultOf(self.send_to("bob@example.net"), RelayDenied)

    def test_bases_are_closed_with_the_service(self) -> None:
        before = Friends.closed
        service = self.make(MemoryStore(), logins=LoginSettings(checkers=[UserBaseChecker(MADE)]))
        service.add_imap("tcp:1")
        service.startService()
        self.stop(service)
        self.assertEqual(Friends.closed, before)
        # Only those that say they need it.
        closable = implementer(IClosableUserBase)(type("Closable", (Friends,), {}))()
        service = self.make(
            MemoryStore(), logins=LoginSettings(checkers=[UserBaseChecker(closable)])
        )
        service.add_imap("tcp:1")
        service.startService()
        self.stop(service)
        self.assertEqual(Friends.closed, before + 1)
