"""Settings of TLS: certificates by name, and those that clients must have, by service."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, cast

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from mailkit.tap import imap, mail
from mailkit.tap import signals as signals_module
from mailkit.tap.errors import SettingError
from mailkit.tap.listeners import scopes
from mailkit.tap.options import MailOptions
from mailkit.tap.service_tls import ServiceTLS, read_certificates
from mailkit.tap.signals import reload_at_hangup
from mailkit.tap.tls import self_signed

SERVICES = scopes(("imap", "imaps", "pop3s"))


class ServiceTLSTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.certificate, self.key = self_signed(self.mktemp())
        self.tls = f"{self.certificate},{self.key}"

    def refusal(self, *arguments: Any) -> str:
        return str(self.assertRaises(SettingError, ServiceTLS, *arguments))


class ServiceTLSTests(ServiceTLSTestCase):
    def test_services_that_want_the_same_share_it(self) -> None:
        tls = ServiceTLS(self.tls, SERVICES, [f"imaps:{self.certificate}"], ["imaps"])
        self.assertIs(tls.context("imap"), tls.context("pop3s"))
        self.assertIsNot(tls.context("imap"), tls.context("imaps"))
        self.assertTrue(tls.context("imaps").asks_for_certificates)
        self.assertFalse(tls.context("imap").asks_for_certificates)
        self.assertEqual(set(tls.from_files), {tls.context("imap"), tls.context("imaps")})

    def test_authorities_for_all_and_for_one(self) -> None:
        other, _ = self_signed(self.mktemp())
        tls = ServiceTLS([self.tls], SERVICES, [self.certificate, f"imap:{other}"])
        self.assertIs(tls.context("imaps"), tls.context("pop3s"))
        self.assertIsNot(tls.context("imap"), tls.context("imaps"))

    def test_several_certificates(self) -> None:
        second = ",".join(self_signed(self.mktemp(), ("mx.example.org",)))
        tls = ServiceTLS([self.tls, second], SERVICES)
        self.assertEqual(tls.context("imap").names, ("localhost", "mx.example.org"))

    def test_none(self) -> None:
        for nothing in (None, [], ()):
            tls = ServiceTLS(nothing, SERVICES)
            self.assertFalse(tls)
            self.assertIsNone(tls.context("imap"))
            self.assertEqual(tls.from_files, [])

    def test_a_context_of_the_callers(self) -> None:
        context = object()
        tls = ServiceTLS(context, SERVICES)
        self.assertTrue(tls)
        self.assertIs(tls.context("imaps"), context)
        self.assertEqual(tls.from_files, [])

    def test_settings_that_do_not_fit(self) -> None:
        ca = [self.certificate]
        self.assertIn("needs tls", self.refusal(None, SERVICES, ca))
        self.assertIn("needs tls", self.refusal(object(), SERVICES, ca))
        self.assertIn("needs client-ca", self.refusal(self.tls, SERVICES, [], ["imaps"]))
        self.assertIn("no service 'irc'", self.refusal(self.tls, SERVICES, ca, ["irc"]))
        self.assertIn("SERVICE:FILE", self.refusal(self.tls, SERVICES, ["imaps:"]))
        self.assertIn("cannot read no.pem", self.refusal(self.tls, SERVICES, ["no.pem"]))
        self.assertIn("CERT,KEY", self.refusal([self.tls, "a,b,c"], SERVICES))


class ReadCertificatesTests(SynchronousTestCase):
    """``tls`` of a settings file."""

    def test_forms(self) -> None:
        for value, wanted in (
            ("a,b", ["a,b"]),
            (["a", "b"], ["a,b"]),
            (["a,b", "c,d"], ["a,b", "c,d"]),
            ([{"certificate": "a", "key": "b"}, {"certificate": "c"}], ["a,b", "c"]),
        ):
            self.assertEqual(read_certificates(value), wanted)

    def test_anything_else_is_an_error(self) -> None:
        for value in (
            *(1, True, [], [1], {}, [{}], [{"key": "a"}], [{"certificate": 1}]),
            *([{"certificate": "a,b"}], [{"certificate": "a", "kye": "b"}], ["a", {}]),
        ):
            self.assertRaises(SettingError, read_certificates, value)


class OptionTests(ServiceTLSTestCase):
    def parse(self, options: MailOptions, *arguments: str) -> MailOptions:
        options.parseOptions(list(arguments))
        return options

    def test_options(self) -> None:
        options = self.parse(
            imap.Options(),
            *("--listen", "tcp:1", "--tls", self.tls, "--tls", self.tls),
            *("--client-ca", f"imap:{self.certificate}", "--require-client-certificate", "imap"),
        )
        tls = options.service_tls
        assert tls is not None
        self.assertTrue(tls.context("imap").asks_for_certificates)

    def test_a_file_with_tables(self) -> None:
        path = Path(self.mktemp())
        table = f'[[tls]]\ncertificate = "{self.certificate}"\nkey = "{self.key}"\n'
        path.write_text(
            f'imaps = "tcp:1"\nclient-ca = "{self.certificate}"\n'
            f'require-client-certificate = ["imaps"]\n{table}{table}'
        )
        options = self.parse(mail.Options(), "--config", str(path))
        self.assertEqual(options.lists["tls"], [self.tls, self.tls])
        assert options.service_tls is not None
        self.assertTrue(options.service_tls.context("imaps").asks_for_certificates)

    def test_the_command_line_goes_first(self) -> None:
        path = Path(self.mktemp())
        path.write_text('imaps = "tcp:1"\ntls = "none.pem"\n')
        options = self.parse(mail.Options(), "--config", str(path), "--tls", self.tls)
        self.assertEqual(options.lists["tls"], [self.tls])

    def test_errors_name_the_setting(self) -> None:
        for setting, value, reason in (
            ("client-ca", "x.pem", "certificates needs tls"),
            ("require-client-certificate", "pop", "no service 'pop'"),
            ("require-client-certificate", "imap", "imap needs client-ca"),
        ):
            arguments = ["--listen", "tcp:1", f"--{setting}", value]
            error = str(self.assertRaises(UsageError, self.parse, imap.Options(), *arguments))
            self.assertTrue(error.startswith(f"--{setting}: "), error)
            self.assertIn(reason, error)


class _Reactor:
    def callFromThread(self, function: Any) -> None:  # noqa: N802
        function()


class HangupTests(SynchronousTestCase):
    """SIGHUP."""

    def setUp(self) -> None:
        self.patch(signals_module, "_at_terminal", lambda: False)
        self.reloads = 0
        before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        self.addCleanup(signal.signal, signal.SIGHUP, before)

    def reload(self) -> None:
        self.reloads += 1

    def test_certificates_are_read_again(self) -> None:
        end = reload_at_hangup(cast(Any, self), _Reactor())
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual(self.reloads, 2)
        end()
        self.assertIs(signal.getsignal(signal.SIGHUP), signal.SIG_DFL)
        end()

    def test_so_they_are_under_nohup(self) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        end = reload_at_hangup(cast(Any, self), _Reactor())
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual(self.reloads, 1)
        end()
        self.assertIs(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)

    def test_a_program_that_handles_it_keeps_it(self) -> None:
        def handle(*_: object) -> None:
            self.reloads += 10

        signal.signal(signal.SIGHUP, handle)
        reload_at_hangup(cast(Any, self), _Reactor())()
        self.assertIs(signal.getsignal(signal.SIGHUP), handle)

    def test_a_terminal_that_is_closed_ends_the_server(self) -> None:
        self.patch(signals_module, "_at_terminal", lambda: True)
        reload_at_hangup(cast(Any, self), _Reactor())
        self.assertIs(signal.getsignal(signal.SIGHUP), signal.SIG_DFL)
