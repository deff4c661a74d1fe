"""Options of twistd's commands: what they take, and errors that name the option."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, cast

from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from mailkit.hooks import MailHook
from mailkit.imap.protocol import ClientRule, IMAPFactory
from mailkit.imap.quirks import DEFAULT_QUIRKS
from mailkit.smtp.protocol import SMTPFactory
from mailkit.tap import imap, lmtp, mail, pop3, smtp, submission
from mailkit.tap.errors import SettingError
from mailkit.tap.extensions import parse_switches
from mailkit.tap.factories import PORT_NAMES
from mailkit.tap.hooks import make_hooks, parse_hooks
from mailkit.tap.listeners import scopes
from mailkit.tap.milters import parse_milters
from mailkit.tap.networks import parse_networks
from mailkit.tap.options import MailOptions
from mailkit.tap.services import MailService
from mailkit.tap.settings import FilterSettings, IMAPSettings, SMTPSettings
from mailkit.tap.tls import self_signed
from mailkit.tap.twistd import make_service
from mailkit.tap.values import parse_count, parse_size

ENDPOINT = "tcp:0:interface=127.0.0.1"
COMMANDS = (smtp, lmtp, submission, pop3, imap)


class ValueTests(SynchronousTestCase):
    """Sizes and numbers."""

    def test_sizes(self) -> None:
        for text, octets in (("1", 1), ("3k", 3072), ("25M", 25 << 20), ("1GiB", 1 << 30)):
            self.assertEqual(parse_size(text), octets)
        for text in ("", "0", "-1", "1.5M", "many", "1T", "9" * 30):
            self.assertIn(repr(text), str(self.assertRaises(SettingError, parse_size, text)))

    def test_counts(self) -> None:
        self.assertEqual(parse_count("7"), 7)
        for text in ("", "0", "-1", "x", "٣", "9" * 30):
            self.assertRaises(SettingError, parse_count, text)


class OptionsTestCase(SynchronousTestCase):
    """Parses command lines of ``twistd mailkit``."""

    def parse(self, *arguments: str) -> mail.Options:
        options = mail.Options()
        options.parseOptions(list(arguments))
        return options

    def check(self, arguments: list[str], *wanted: str) -> None:
        error = str(self.assertRaises(UsageError, self.parse, *arguments))
        for part in wanted:
            self.assertIn(part, error)


class MailOptionsTests(OptionsTestCase):
    """``twistd mailkit``."""

    def test_endpoints_may_be_repeated(self) -> None:
        options = self.parse("--imap", "tcp:1", "--smtp", "tcp:2", "--imap", "unix:/run/x")
        self.assertEqual(options.endpoints["imap"], ["tcp:1", "unix:/run/x"])
        self.assertEqual(options.endpoints["smtp"], ["tcp:2"])
        self.assertEqual(options.endpoints["pop3"], [])

    def test_nothing_to_serve(self) -> None:
        self.check([], "nothing to serve", "--smtp", "--imaps")

    def test_errors_name_the_option(self) -> None:
        for option in PORT_NAMES:
            self.check([f"--{option}", "143"], f"--{option}: ", "'143'", "tcp:2525")
        serve = ["--imap", ENDPOINT]
        self.check([*serve, "--store", "x:y"], "--store: ", "'x:y'")
        self.check([*serve, "--tls", "one,two"], "--tls: ", "cannot read one")
        self.check([*serve, "--auth", "nothing:x"], "--auth nothing:x: ")
        self.check([*serve, "--auth", "memory:ann"], "--auth memory:ann: ")
        self.check([*serve, "--max-message-size", "big"], "--max-message-size: ", "'big'")
        self.check([*serve, "--max-connections", "0"], "--max-connections: ", "'0'")
        self.check([*serve, "--hostname", "a b"], "--hostname: ", "'a b'")
        self.check([*serve, "--mechanisms", "PLAIN,X"], "--mechanisms: ", "no mechanism X")
        self.check([*serve, "--master-separator", "@"], "--master-separator: ", "'@'")
        self.check([*serve, "--mechanisms", "PLAIN,"], "--mechanisms: 'PLAIN,' must be names")
        self.check([*serve, "--other-users", "a/b"], "--other-users: 'a/b'")
        self.check([*serve, "--shared", "Other Users"], "--shared: ")
        self.check([*serve, "--milter-failure", "x"], "--milter-failure: 'x'")

    def test_implicit_tls_needs_a_certificate(self) -> None:
        self.check(["--imaps", ENDPOINT], "--imaps", "--tls CERT,KEY")

    def test_leftover_words_are_refused(self) -> None:
        self.check(["--imap", ENDPOINT, "tcp6:143"], "'tcp6:143' belongs to no option")

    def test_what_may_have_been_meant(self) -> None:
        self.check(["--impa", ENDPOINT], "option --impa not recognized; did you mean --imap?")
        for arguments in (["--zzz", ENDPOINT], ["--imap"]):
            error = self.assertRaises(UsageError, self.parse, *arguments)
            self.assertNotIn("mean", str(error))

    def test_settings_reach_the_service(self) -> None:
        options = self.parse(
            *("--imap", ENDPOINT, "--max-message-size", "1M", "--max-connections", "5"),
            *("--max-connections-per-address", "4", "--allow-plaintext-passwords"),
            *("--max-sessions-per-account", "3", "--mechanisms", "login,PLAIN"),
            *("--master-separator", "*"),
        )
        limits = options.limits
        self.assertEqual(
            (
                limits.max_message_size,
                limits.max_connections,
                limits.max_connections_per_address,
                limits.max_sessions_per_account,
                options.logins.allow_plaintext_passwords,
                options.logins.mechanisms,
                options.logins.master_separator,
            ),
            (1 << 20, 5, 4, 3, True, ("LOGIN", "PLAIN"), "*"),
        )

    def test_auth_may_be_repeated_and_name_the_store(self) -> None:
        options = self.parse(
            *("--imap", ENDPOINT, "--auth", "memory:ann:x", "--auth", "memory:bob:y"),
            *("--auth", "store"),
        )
        self.assertEqual(len(options["credCheckers"]), 2)
        self.assertTrue(options.store_accounts)

    def test_auth_in_memory_knows_the_password(self) -> None:
        options = MailOptions()
        options.opt_auth("memory:ann:pässword")
        (checker,) = options["credCheckers"]
        good = UsernamePassword(b"ann", "pässword".encode())
        self.assertEqual(self.successResultOf(checker.requestAvatarId(good)), b"ann")
        bad = UsernamePassword(b"ann", b"password")
        self.failureResultOf(checker.requestAvatarId(bad), UnauthorizedLogin)

    def test_auth_that_knows_no_passwords_is_refused(self) -> None:
        self.check(["--imap", ENDPOINT, "--auth", "anonymous"], "--auth anonymous: ")

    def test_version_names_both(self) -> None:
        options = mail.Options()
        options.authOutput = io.StringIO()
        self.assertRaises(SystemExit, options.parseOptions, ["--version"])
        self.assertIn("mailkit 0.", options.authOutput.getvalue())
        self.assertIn("Twisted ", options.authOutput.getvalue())


class MilterOptionTests(OptionsTestCase):
    """``--milter``."""

    def test_for_all_services_or_one(self) -> None:
        options = self.parse(
            *("--smtp", ENDPOINT, "--milter", "unix:/run/one", "--milter", "smtp:tcp:127.0.0.1:2"),
            *("--milter-failure", "accept"),
        )
        found = parse_milters(options.lists["milter"], options["milter-failure"])
        names = {s: [m.name for h in hooks for m in h.milters] for s, hooks in found.items()}
        both = ["unix:/run/one", "tcp:127.0.0.1:2"]
        self.assertEqual(names, {"smtp": both, "lmtp": both[:1], "submission": both[:1]})
        self.assertEqual(found["smtp"][0].milters[0].settings.failure, "accept")

    def test_what_is_none(self) -> None:
        serve = ["--smtp", ENDPOINT, "--milter"]
        for text in ("inet:8891@localhost", "/run/x", "", "imap:unix:/x"):
            self.check([*serve, text], "--milter: ", "no client endpoint")
        self.check([*serve, "unix:/x", "--milter-failure", "x"], "--milter-failure: ", "'x'")
        reuse = ("--milter", "unix:/x", "--milter", "unix:/y", "--milter-reuse", "unix:/y")
        options = self.parse("--smtp", ENDPOINT, *reuse)
        (hook,) = parse_milters(options.lists["milter"], reuse=options.lists["milter-reuse"])[
            "smtp"
        ]
        self.assertEqual([m.settings.reuse for m in hook.milters], [False, True])
        self.check(["--smtp", ENDPOINT, "--milter-reuse", "unix:/x"], "--milter-reuse: ", "unix:/x")

    def test_in_a_file(self) -> None:
        path = Path(self.mktemp())
        path.write_text('smtp = "tcp:1"\nmilter = "unix:/x"\nmilter-failure = "reject"\n', "utf-8")
        options = self.parse("--config", str(path))
        self.assertEqual(
            (options.lists["milter"], options["milter-failure"]), (["unix:/x"], "reject")
        )

    def test_the_service_asks_them(self) -> None:
        service = MailService("memory:", filters=FilterSettings(milters=["lmtp:unix:/run/one"]))
        for name in ("smtp", "lmtp"):
            service.add_port(name, ENDPOINT)
        service.startService()
        self.addCleanup(service.stopService)
        for name, asked in (("smtp", False), ("lmtp", True)):
            hooks = cast(SMTPFactory, service._factories[name]).hook_set
            names = {h.name for step in (hooks.steps if hooks else {}).values() for h in step}
            self.assertEqual("milter" in names, asked)


class NetworkOptionTests(OptionsTestCase):
    """``--proxy-from``."""

    def test_for_all_services_or_one(self) -> None:
        options = self.parse(
            *("--smtp", ENDPOINT, "--proxy-from", "192.0.2.0/24"),
            *("--proxy-from", "imap:2001:db8::1", "--proxy-from", "2001:db8::2"),
        )
        networks = parse_networks(options.lists["proxy-from"], scopes(PORT_NAMES))
        for name, host, expected in (
            ("smtp", "192.0.2.9", True),
            ("imap", "192.0.2.9", True),
            ("smtp", "2001:db8::1", False),
            ("imap", "2001:db8::1", True),
            ("smtp", "2001:db8::2", True),
        ):
            self.assertEqual(host in networks[name], expected, (name, host))

    def test_xclient(self) -> None:
        options = self.parse(
            *("--smtp", ENDPOINT, "--xclient-from", "lmtp:unix", "--xclient-from", "192.0.2.1")
        )
        service = MailService(
            "memory:", smtp=SMTPSettings(xclient_from=options.lists["xclient-from"])
        )
        for name, unix in (("smtp", False), ("lmtp", True), ("submission", False)):
            service.add_port(name, ENDPOINT)
            factory = cast(SMTPFactory, service._factories[name])
            self.assertEqual("" in factory.extensions.trusted_clients, unix)
            self.assertIn("192.0.2.1", factory.extensions.trusted_clients)
        self.check(["--smtp", ENDPOINT, "--xclient-from", "imap:::1"], "--xclient-from: ", "lmtp")

    def test_what_is_no_network(self) -> None:
        for text in ("x", "imap:x", "gopher:192.0.2.1", "192.0.2.1:25"):
            arguments = ["--smtp", ENDPOINT, "--proxy-from", text]
            self.check(arguments, "--proxy-from: ", "no network", "imap")

    def test_in_a_file(self) -> None:
        path = Path(self.mktemp())
        path.write_text('imap = "tcp:1"\nproxy-from = ["192.0.2.1", "unix"]\n', "utf-8")
        self.assertEqual(
            self.parse("--config", str(path)).lists["proxy-from"], ["192.0.2.1", "unix"]
        )
        options = self.parse("--config", str(path), "--proxy-from", "192.0.2.2")
        self.assertEqual(options.lists["proxy-from"], ["192.0.2.2"])


class ExtensionOptionTests(OptionsTestCase):
    """``--without-extension``."""

    def test_for_all_services_or_one(self) -> None:
        options = self.parse(
            "--smtp", ENDPOINT, "--without-extension", "help", "--without-extension", "smtp:SIZE"
        )
        off = parse_switches(options.lists["without-extension"])
        self.assertEqual(off, {"smtp": {"HELP", "SIZE"}, "lmtp": {"HELP"}, "submission": {"HELP"}})
        service = MailService(
            "memory:", smtp=SMTPSettings(without_extensions=options.lists["without-extension"])
        )
        for name in ("smtp", "submission"):
            service.add_port(name, ENDPOINT)
            factory = cast(SMTPFactory, service._factories[name])
            self.assertEqual("SIZE" in factory.extension_set.by_name, name == "submission")
            self.assertNotIn("HELP", factory.extension_set.by_name)

    def test_lmtp_keeps_what_it_must_have(self) -> None:
        off = parse_switches(["PIPELINING", "lmtp:SIZE"])
        self.assertEqual((off["smtp"], off["lmtp"]), ({"PIPELINING"}, {"SIZE"}))
        error = self.assertRaises(SettingError, parse_switches, ["lmtp:PIPELINING"])
        self.assertIn("LMTP must have PIPELINING", str(error))

    def test_queries(self) -> None:
        options = self.parse("--smtp", ENDPOINT, "--vrfy", "everyone", "--expn=authenticated")
        self.assertEqual((options["vrfy"], options["expn"]), ("everyone", "authenticated"))
        service = MailService("memory:", smtp=SMTPSettings(vrfy="everyone"))
        service.add_port("smtp", ENDPOINT)
        factory = cast(SMTPFactory, service._factories["smtp"])
        settings = factory.extensions
        self.assertEqual((settings.vrfy.value, settings.expn.value), ("everyone", "never"))
        self.check(["--smtp", ENDPOINT, "--vrfy", "me"], "--vrfy", "authenticated")
        path = Path(self.mktemp())
        path.write_text(f'smtp = "{ENDPOINT}"\nexpn = "everyone"\n')
        self.assertEqual(self.parse("--config", str(path))["expn"], "everyone")

    def test_solicitation(self) -> None:
        text = "org.example:ADV, net.example:X"
        options = self.parse("--smtp", ENDPOINT, "--no-soliciting", text)
        service = MailService("memory:", smtp=SMTPSettings(no_soliciting=options["no-soliciting"]))
        service.add_port("smtp", ENDPOINT)
        factory = cast(SMTPFactory, service._factories["smtp"])
        self.assertEqual(factory.extensions.no_soliciting, ("org.example:ADV", "net.example:X"))
        self.check(["--smtp", ENDPOINT, "--no-soliciting", "1"], "--no-soliciting", "org.example")

    def test_any_from(self) -> None:
        path = Path(self.mktemp())
        path.write_text(f'submission = "{ENDPOINT}"\nany-from = true\n', "utf-8")
        for arguments, checked in (
            (["--submission", ENDPOINT], True),
            (["--submission", ENDPOINT, "--any-from"], False),
            (["--config", str(path)], False),
        ):
            service: Any = make_service(self.parse("--store", "memory:", *arguments))
            self.assertEqual(service._factories["submission"].check_from, checked)

    def test_bare_line_ends(self) -> None:
        options = self.parse("--smtp", ENDPOINT, "--bare-line-ends", "normalise")
        self.assertEqual(options.lists["bare-line-ends"], ["normalise"])
        path = Path(self.mktemp())
        for text in ('"lmtp:normalise"', '["lmtp:normalise"]'):
            path.write_text(f'lmtp = "{ENDPOINT}"\nbare-line-ends = {text}\n', "utf-8")
            options = self.parse("--config", str(path))
            self.assertEqual(options.lists["bare-line-ends"], ["lmtp:normalise"])
        both: list[tuple[list[str], dict[str, str]]] = [
            ([], {"smtp": "refuse", "lmtp": "refuse", "submission": "normalise"}),
            (["normalise"], dict.fromkeys(("smtp", "lmtp", "submission"), "normalise")),
            (["refuse"], dict.fromkeys(("smtp", "lmtp", "submission"), "refuse")),
            (
                ["lmtp:refuse", "normalise"],
                {"smtp": "normalise", "lmtp": "refuse", "submission": "normalise"},
            ),
        ]
        for way, expected in both:
            service = MailService("memory:", smtp=SMTPSettings(bare_line_ends=way))
            for name, found in expected.items():
                service.add_port(name, ENDPOINT)
                factory = cast(SMTPFactory, service._factories[name])
                self.assertEqual(factory.bare_line_ends, found, (way, name))
            service.add_port("imap", ENDPOINT)
        self.check(
            ["--smtp", ENDPOINT, "--bare-line-ends", "keep"], "--bare-line-ends", "normalise"
        )
        self.check(
            ["--smtp", ENDPOINT, "--bare-line-ends", "imap:refuse"], "--bare-line-ends", "'imap'"
        )

    def test_unknown_names(self) -> None:
        for name, wanted in (("FOO", "no extension 'FOO'"), ("imap:SIZE", "'imap'")):
            arguments = ["--smtp", ENDPOINT, "--without-extension", name]
            self.check(arguments, "--without-extension", wanted)

    def test_in_a_file(self) -> None:
        path = Path(self.mktemp())
        path.write_text(f'smtp = "{ENDPOINT}"\nwithout-extension = ["SIZE", "smtp:HELP"]\n')
        options = self.parse("--config", str(path))
        self.assertEqual(options.lists["without-extension"], ["SIZE", "smtp:HELP"])
        options = self.parse("--config", str(path), "--without-extension", "AUTH")
        self.assertEqual(options.lists["without-extension"], ["AUTH"])


class CapabilityOptionTests(OptionsTestCase):
    """``--without-capability`` and ``[imap-clients]``."""

    def factory(self, **settings: Any) -> IMAPFactory:
        service = MailService("memory:", imap=IMAPSettings(**settings))
        service.add_port("imap", ENDPOINT)
        return cast(IMAPFactory, service._factories["imap"])

    def test_left_out(self) -> None:
        options = self.parse(
            "--imap", ENDPOINT, "--without-capability", "move", "--without-capability", "imap:IDLE"
        )
        factory = self.factory(without_capabilities=options.lists["without-capability"])
        self.assertEqual(factory.without, {"MOVE", "IDLE"})

    def test_unknown_names(self) -> None:
        for name, wanted in (
            ("FOO", "no capability FOO"),
            ("smtp:SIZE", "'smtp'"),
            ("IMAP4rev1", "cannot be left out"),
        ):
            arguments = ["--imap", ENDPOINT, "--without-capability", name]
            self.check(arguments, "--without-capability", wanted)

    def test_in_a_file(self) -> None:
        path = Path(self.mktemp())
        path.write_text(
            f'imap = "{ENDPOINT}"\nwithout-capability = "MOVE"\n'
            '[imap-clients.phone]\nmatch = { name = "Old*", version = "1.*" }\nwithout = ["idle"]\n'
            'quirks = ["delay-newmail"]\n'
        )
        options = self.parse("--config", str(path))
        self.assertEqual(options.lists["without-capability"], ["MOVE"])
        (rule,) = self.factory(clients=options.tables["imap-clients"]).clients
        self.assertEqual(
            rule._replace(quirks=frozenset()),
            ClientRule("phone", (("name", "Old*"), ("version", "1.*")), frozenset(("IDLE",))),
        )
        self.assertEqual(rule.quirks, DEFAULT_QUIRKS | {"delay-newmail"})

    def test_quirks(self) -> None:
        options = self.parse(
            "--imap", ENDPOINT, "--imap-quirk=delay-newmail", "--imap-quirk=no-keep-idle"
        )
        factory = self.factory(quirks=options.lists["imap-quirk"])
        self.assertEqual(factory.quirks, (DEFAULT_QUIRKS | {"delay-newmail"}) - {"keep-idle"})
        self.assertEqual(self.factory().quirks, DEFAULT_QUIRKS)
        for name in ("foo", "no-foo"):
            arguments = ["--imap", ENDPOINT, "--imap-quirk", name]
            self.check(arguments, "--imap-quirk", "no quirk foo; known are delay-newmail")
        path = Path(self.mktemp())
        path.write_text(f'imap = "{ENDPOINT}"\nimap-quirk = "no-keep-idle"\n')
        self.assertEqual(self.parse("--config", str(path)).lists["imap-quirk"], ["no-keep-idle"])

    def test_wrong_rules(self) -> None:
        for text, wanted in (
            ("phone = 1", "phone must be a table"),
            ("[imap-clients.phone]\nwithout = []", "needs match"),
            ("[imap-clients.phone]\nmatch = {}", "needs match"),
            ("[imap-clients.phone]\nmatch = {name = 1}", "needs match"),
            ('[imap-clients.phone]\nmatch = {name = "x"}\nwithout = "MOVE"', "array of strings"),
            ('[imap-clients.phone]\nmatch = {name = "x"}\nwithout = ["FOO"]', "capability FOO"),
            ('[imap-clients.phone]\nmatch = {name = "x"}\nwithot = ["FOO"]', "must be a table"),
        ):
            path = Path(self.mktemp())
            head = "" if text.startswith("[") else "[imap-clients]\n"
            path.write_text(f'imap = "{ENDPOINT}"\n{head}{text}\n')
            self.check(["--config", str(path)], "imap-clients", wanted)


def no_opinion(session: Any, envelope: Any, message: Any) -> None:
    """A hook that is a function."""


class Named(MailHook):
    """A hook that is a class, with an argument or without."""

    def __init__(self, name: str = "none") -> None:
        if name == "bad":
            raise ValueError("not that name")
        self.name = name

    def connect(self, session: Any) -> None:
        """Fine."""


HERE = "tests.tap.test_options"
AN_OBJECT = Named("object")


class HookOptionTests(OptionsTestCase):
    """``--hook``."""

    def names(self, hooks: Any) -> dict[str, list[str]]:
        made = make_hooks(parse_hooks(hooks))
        return {
            service: [getattr(hook, "name", None) or getattr(hook, "__name__", "") for hook in each]
            for service, each in made.items()
        }

    def test_for_all_services_or_one(self) -> None:
        options = self.parse(
            *("--smtp", ENDPOINT, "--hook", f"{HERE}.no_opinion", "--hook", f"smtp:{HERE}.Named"),
            *("--hook", f"lmtp:{HERE}.Named:for:lmtp", "--hook", f"{HERE}.AN_OBJECT"),
        )
        self.assertEqual(
            self.names(options.lists["hook"]),
            {
                "smtp": ["no_opinion", "none", "object"],
                "lmtp": ["no_opinion", "for:lmtp", "object"],
                "submission": ["no_opinion", "object"],
            },
        )

    def test_settings(self) -> None:
        self.assertIsNone(self.parse("--smtp", ENDPOINT).hook_settings)
        settings = self.parse("--smtp", ENDPOINT, "--hook-failure", "accept").hook_settings
        self.assertEqual((settings.failure, settings.trace), ("accept", True))
        path = Path(self.mktemp())
        path.write_text(f'smtp = "{ENDPOINT}"\nhook-failure = "accept"\nno-hook-trace = true\n')
        settings = self.parse("--config", str(path)).hook_settings
        self.assertEqual((settings.failure, settings.trace), ("accept", False))
        self.check(
            ["--smtp", ENDPOINT, "--hook-failure", "x"], "--hook-failure: ", "'x' is neither"
        )

    def test_objects(self) -> None:
        self.assertEqual(
            self.names({"smtp": [no_opinion, f"{HERE}.Named:x"], "lmtp": [AN_OBJECT]}),
            {"smtp": ["no_opinion", "x"], "lmtp": ["object"]},
        )
        one = make_hooks(parse_hooks([f"{HERE}.Named"]))
        self.assertIs(one["smtp"][0], one["lmtp"][0])

    def test_errors_name_the_option(self) -> None:
        for name, wanted in (
            ("nowhere.nothing", "cannot load nowhere.nothing"),
            ("imap:tests.tap", "'imap' has no hooks"),
            ("every_mail", "'every_mail' names no hook; write MODULE.NAME[:ARGUMENT]"),
            ("smtp:", "'smtp:' names no hook"),
            ("nothing:a.b", "'nothing' has no hooks"),
            (f"{HERE}.HERE:x", f"{HERE}.HERE takes no argument"),
            (f"{HERE}.HERE", "is no hook: it has no step, and is no function"),
            ("os.getcwd", "getcwd is no hook for the step message: it is called with session,"),
        ):
            self.check(["--smtp", ENDPOINT, "--hook", name], "--hook: ", wanted)
        self.assertRaises(SettingError, parse_hooks, "a.b")
        self.assertRaises(SettingError, parse_hooks, {"pop3": []})

    def test_in_a_file(self) -> None:
        path = Path(self.mktemp())
        path.write_text(f'smtp = "{ENDPOINT}"\nhook = ["{HERE}.Named", "smtp:{HERE}.Named:x"]\n')
        options = self.parse("--config", str(path))
        self.assertEqual(options.lists["hook"], [f"{HERE}.Named", f"smtp:{HERE}.Named:x"])
        options = self.parse("--config", str(path), "--hook", f"{HERE}.no_opinion")
        self.assertEqual(options.lists["hook"], [f"{HERE}.no_opinion"])


class ConfigOptionTests(OptionsTestCase):
    """``--config``: the same settings, and the command line goes first."""

    def write(self, text: str) -> str:
        path = self.mktemp()
        Path(path).write_text(text)
        return path

    def test_all_settings(self) -> None:
        certificate, key = self_signed(self.mktemp())
        path = self.write(
            f'store = "memory:"\ntls = ["{certificate}", "{key}"]\nhostname = "mx.example.org"\n'
            'imap = ["tcp:1", "tcp:2"]\nimaps = "tcp:3"\nauth = ["memory:ann:x", "store"]\n'
            'max-message-size = "2M"\nmax-connections = 9\nallow-plaintext-passwords = true\n'
        )
        options = self.parse("--config", path)
        self.assertEqual(options["store"], "memory:")
        self.assertEqual(options["hostname"], "mx.example.org")
        self.assertEqual(options.endpoints["imap"], ["tcp:1", "tcp:2"])
        self.assertEqual(options.endpoints["imaps"], ["tcp:3"])
        self.assertEqual(len(options["credCheckers"]), 1)
        self.assertTrue(options.store_accounts)
        self.assertTrue(options.service_tls)
        self.assertEqual(options.limits.max_message_size, 2 << 20)
        self.assertEqual(options.limits.max_connections, 9)
        self.assertTrue(options.logins.allow_plaintext_passwords)

    def test_the_command_line_goes_first(self) -> None:
        path = self.write('store = "memory:"\nimap = "tcp:1"\npop3 = "tcp:2"\nauth = "store"\n')
        options = self.parse(
            *("--config", path, "--store", "sqlite:x", "--imap", "tcp:3"),
            *("--auth", "memory:ann:x"),
        )
        self.assertEqual(options["store"], "sqlite:x")
        self.assertEqual(options.endpoints["imap"], ["tcp:3"])
        self.assertEqual(options.endpoints["pop3"], ["tcp:2"])
        self.assertFalse(options.store_accounts)

    def test_unknown_key_names_key_and_file(self) -> None:
        path = self.write('impa = "tcp:1"')
        self.check(["--config", path], "--config: ", path, "'impa'")

    def test_config_in_the_file_is_unknown(self) -> None:
        path = self.write('config = "other.toml"')
        self.check(["--config", path], "unknown key 'config'")

    def test_errors_in_values_name_file_and_key(self) -> None:
        for line, key in (
            ('imap = "143"', "imap"),
            ('store = "x:y"', "store"),
            ('tls = "none.pem"', "tls"),
            ('auth = "nothing"', "auth"),
            ('max-message-size = "big"', "max-message-size"),
        ):
            path = self.write(f"{line}\n" + ("" if key == "imap" else 'imap = "tcp:1"\n'))
            self.check(["--config", path], f"{path}: {key}")

    def test_missing_file(self) -> None:
        self.check(["--config", "no.toml"], "--config: cannot read no.toml")


class ListenOptionsTests(SynchronousTestCase):
    """The commands that serve one protocol."""

    def parse(self, module: object, *arguments: str) -> MailOptions:
        options: MailOptions = module.Options()  # type: ignore[attr-defined]
        options.parseOptions(list(arguments))
        return options

    def test_listen_may_be_repeated(self) -> None:
        for module in COMMANDS:
            options = self.parse(module, "--listen", "tcp:1", "--listen", "tcp:2")
            self.assertEqual(next(iter(options.endpoints.values())), ["tcp:1", "tcp:2"])

    def test_listen_is_needed_and_named_in_errors(self) -> None:
        for module in COMMANDS:
            error = self.assertRaises(UsageError, self.parse, module)
            self.assertIn("--listen", str(error))
            error = self.assertRaises(UsageError, self.parse, module, "--listen", "143")
            self.assertIn("--listen: ", str(error))

    def test_implicit_tls(self) -> None:
        tls = ",".join(self_signed(self.mktemp()))
        for module, name in ((submission, "submissions"), (pop3, "pop3s"), (imap, "imaps")):
            options = self.parse(module, "--listen-tls", "tcp:1", "--tls", tls)
            self.assertEqual(options.endpoints[name], ["tcp:1"])
            error = self.assertRaises(UsageError, self.parse, module, "--listen-tls", "tcp:1")
            self.assertIn("--listen-tls needs a certificate", str(error))
