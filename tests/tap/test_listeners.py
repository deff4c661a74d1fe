"""Named listeners: two ports of one service with different extensions, limits, TLS and checks."""

from __future__ import annotations

import smtplib
from pathlib import Path
from typing import Any, cast

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from mailkit.tap import lmtp, mail, smtp, submission
from mailkit.tap.errors import SettingError, StartError
from mailkit.tap.listeners import scopes, split_endpoint
from mailkit.tap.service_tls import ServiceTLS
from mailkit.tap.services import MailService
from mailkit.tap.settings import FilterSettings, SMTPSettings
from mailkit.tap.tls import self_signed
from mailkit.tap.twistd import TwistdService
from tests.support import HOST, ServerProcess, free_ports
from tests.tap.test_services import ServiceTestCase

ENDPOINT = "tcp:0:interface=127.0.0.1"


class NoOpinion:
    """A hook."""

    def connect(self, session: Any) -> None:
        """Fine."""


HOOK = f"{__name__}.NoOpinion"


def factories(service: MailService) -> dict[str, Any]:
    """By protocol, or by the listener's name."""
    return cast("dict[str, Any]", service._factories)


class NameTests(SynchronousTestCase):
    def test_endpoints_with_names(self) -> None:
        for text, name, endpoint in (
            ("tcp:25", "", "tcp:25"),
            ("inside=tcp:25:interface=::1", "inside", "tcp:25:interface=::1"),
            ("unix:/run/a=b", "", "unix:/run/a=b"),
            ("x=unix:/run/a=b", "x", "unix:/run/a=b"),
        ):
            self.assertEqual(split_endpoint(text), (name, endpoint))

    def test_whom_a_setting_is_for(self) -> None:
        listeners = {"inside": "smtp", "office": "submissions"}
        self.assertEqual(
            scopes(("smtp", "submission"), listeners),
            {
                "smtp": ["smtp", "inside"],
                "submission": ["submission", "office"],
                "inside": ["inside"],
                "office": ["office"],
            },
        )
        self.assertEqual(
            scopes(("submission", "submissions"), listeners),
            {
                "submission": ["submission"],
                "submissions": ["submissions", "office"],
                "office": ["office"],
            },
        )

    def test_names_that_cannot_be(self) -> None:
        for arguments, wanted in (
            (["--imap", f"inside={ENDPOINT}"], "listeners of imap have no names"),
            (["--smtp", f"lmtp={ENDPOINT}"], "'lmtp' is no name for a listener"),
            (["--smtp", f"unix={ENDPOINT}"], "'unix' is no name for a listener"),
            (["--smtp", f"fe80={ENDPOINT}"], "'fe80' is no name for a listener"),
            (["--smtp", f"In side={ENDPOINT}"], "'In side' is no name for a listener"),
            (["--smtp", "inside=nothing"], "'nothing' is no endpoint"),
            (["--smtp", f"a-b={ENDPOINT}", "--lmtp", f"a-b={ENDPOINT}"], "a-b is a listener of"),
        ):
            options = mail.Options()
            error = str(self.assertRaises(UsageError, options.parseOptions, arguments))
            self.assertIn(wanted, error)
            self.assertTrue(error.startswith(arguments[-2]), error)

    def test_help_tells_of_it(self) -> None:
        for module in (mail, smtp, lmtp, submission):
            self.assertTrue("NAME=ENDPOINT" in module.Options().getUsage(80), module)


class ListenerTests(ServiceTestCase):
    """What a named listener has of its own, and what of its service's."""

    def extensions(self, service: MailService, name: str) -> frozenset[str]:
        return frozenset(factories(service)[name].extensions.switched_off)

    def options(self, text: str, *arguments: str) -> mail.Options:
        path = Path(self.mktemp())
        path.write_text(text, "utf-8")
        options = mail.Options()
        options.parseOptions([*arguments, "--store", "memory:", "--config", str(path)])
        return options

    def test_extensions_of_options(self) -> None:
        options = self.options(
            f'smtp = ["{ENDPOINT}", "inside={ENDPOINT}"]\nlmtp = "near={ENDPOINT}"\n'
            'without-extension = ["DSN", "smtp:LIMITS", "inside:CHUNKING", "near:HELP"]\n'
            '[smtp-extensions]\nvrfy = "never"\n'
            '[smtp-extensions.smtp]\nexpn = "authenticated"\nwithout = ["RRVS"]\n'
            '[smtp-extensions.inside]\nvrfy = "everyone"\nwithout = ["ETRN"]\n'
        )
        service = TwistdService(options)
        self.assertEqual(set(service._factories), {"smtp", "inside", "near"})
        self.assertEqual(self.extensions(service, "smtp"), {"DSN", "LIMITS", "RRVS"})
        self.assertEqual(self.extensions(service, "inside"), {"DSN", "LIMITS", "CHUNKING", "ETRN"})
        self.assertEqual(self.extensions(service, "near"), {"DSN", "HELP"})
        told = [
            (factory.extensions.vrfy.value, factory.extensions.expn.value)
            for factory in map(factories(service).get, ("smtp", "inside"))
        ]
        self.assertEqual(told, [("never", "authenticated"), ("everyone", "authenticated")])

    def test_what_lmtp_must_have(self) -> None:
        near = {"listeners": {"near": "lmtp"}}
        error = self.assertRaises(
            SettingError, self.make, smtp=SMTPSettings(["near:PIPELINING"]), **near
        )
        self.assertEqual(str(error), "LMTP must have PIPELINING")
        service = self.make(smtp=SMTPSettings(["PIPELINING"]), **near)
        service.add_port("near", ENDPOINT)
        self.assertEqual(self.extensions(service, "near"), frozenset())

    def test_limits(self) -> None:
        service = self.make(
            listeners={"inside": "smtp"},
            smtp=SMTPSettings(
                limits={
                    "max-errors": 5,
                    "smtp": {"timeout": 60, "max-recipients": 200},
                    "inside": {"max-recipients": 5000, "command-line": 9000},
                }
            ),
        )
        for name in ("smtp", "inside", "submission"):
            service.add_port(name, ENDPOINT)
        found = [
            (f.max_errors, f.timeout, f.max_recipients, f.limits.line)
            for f in factories(service).values()
        ]
        self.assertEqual(found[:2], [(5, 60, 200, 4096), (5, 60, 5000, 9000)])
        self.assertEqual(found[2][:2], (5, 300))

    def test_line_ends_and_sizes(self) -> None:
        options = self.options(
            f'smtp = ["{ENDPOINT}", "inside={ENDPOINT}"]\n'
            f'submission = ["{ENDPOINT}", "scanner={ENDPOINT}"]\n'
            'max-message-size = "10M"\n'
            'bare-line-ends = ["inside:normalise", "submission:refuse", "scanner:normalise"]\n'
            '[smtp-limits.inside]\nmax-message-size = "20M"\n'
        )
        found = {
            name: (factory.bare_line_ends, factory.max_size >> 20)
            for name, factory in factories(TwistdService(options)).items()
        }
        self.assertEqual(
            found,
            {
                "smtp": ("refuse", 10),
                "inside": ("normalise", 20),
                "submission": ("refuse", 10),
                "scanner": ("normalise", 10),
            },
        )

    def test_networks(self) -> None:
        service = self.make(
            listeners={"inside": "smtp", "office": "submissions"},
            tls=",".join(self_signed(self.mktemp())),
            smtp=SMTPSettings(xclient_from=["smtp:192.0.2.1", "inside:192.0.2.2"]),
            proxy_from=["inside:192.0.2.3", "submissions:192.0.2.4"],
        )
        service.add_port("smtp", ENDPOINT)
        service.add_port("inside", ENDPOINT)
        trusted = [
            [
                address in factory.extensions.trusted_clients
                for address in ("192.0.2.1", "192.0.2.2")
            ]
            for factory in factories(service).values()
        ]
        self.assertEqual(trusted, [[True, False], [True, True]])
        self.assertEqual(
            [bool(service._proxies[name]) for name in ("smtp", "inside", "office", "submission")],
            [False, True, True, False],
        )

    def test_hooks_milters_and_checks(self) -> None:
        service = self.make(
            listeners={"inside": "smtp", "outside": "smtp"},
            filters=FilterSettings(
                hooks=[f"inside:{HOOK}"],
                milters=["outside:tcp:127.0.0.1:1"],
                checks={"helo": {"services": ["outside", "submission"]}, "rates": False},
            ),
        )
        names = ("smtp", "inside", "outside", "submission")
        for name in names:
            service.add_port(name, ENDPOINT)
        service.startService()
        self.addCleanup(self.stop, service)
        found = {
            name: {bound.name for step in factory.hook_set.steps.values() for bound in step}
            for name, factory in factories(service).items()
        }
        self.assertEqual(
            found,
            {
                "smtp": {"content-limits"},
                "inside": {"content-limits", "NoOpinion"},
                "outside": {"content-limits", "helo", "milter"},
                "submission": {"helo"},
            },
        )
        error = self.assertRaises(
            SettingError, self.make, filters=FilterSettings({"helo": {"services": "imap"}})
        )
        self.assertIn("helo.services: 'imap' takes no mail", str(error))

    def test_client_certificates(self) -> None:
        certificate, key = self_signed(self.mktemp())
        tls = ServiceTLS(
            f"{certificate},{key}",
            scopes(("smtp", "imap"), {"inside": "smtp", "office": "smtp"}),
            [f"inside:{certificate}"],
            ["inside"],
        )
        asked = [tls.context(name).asks_for_certificates for name in ("smtp", "inside", "office")]
        self.assertEqual(asked, [False, True, False])

    def test_tls_from_the_first_octet_needs_a_certificate(self) -> None:
        service = self.make(listeners={"office": "submissions"})
        self.assertRaises(SettingError, service.add_port, "office", ENDPOINT)
        options = submission.Options()
        arguments = ["--listen-tls", f"office={ENDPOINT}"]
        error = self.assertRaises(UsageError, options.parseOptions, arguments)
        self.assertIn("--listen-tls needs a certificate", str(error))

    def test_a_name_does_not_bring_lmtp_to_port_25(self) -> None:
        service = self.make(listeners={"near": "lmtp"})
        service.add_port("near", "tcp:25")
        error = self.assertRaises(StartError, service.privilegedStartService)
        self.assertIn("must not be served on port 25", str(error))

    def test_a_name_that_no_listener_has(self) -> None:
        every: list[dict[str, Any]] = [
            {"smtp": SMTPSettings(without_extensions=["inside:DSN"])},
            {"smtp": SMTPSettings(extensions={"inside": {"vrfy": "everyone"}})},
            {"smtp": SMTPSettings(limits={"inside": {"max-errors": 5}})},
            {"smtp": SMTPSettings(xclient_from=["inside:192.0.2.1"])},
            {"filters": FilterSettings(hooks=[f"inside:{HOOK}"])},
        ]
        for settings in every:
            self.assertIn("inside", str(self.assertRaises(SettingError, self.make, **settings)))
        self.assertRaises(SettingError, self.make, listeners={"inside": "imap"})


class SocketTests(SynchronousTestCase):
    """``twistd mailkit``, asked by somebody else's client."""

    def test_two_listeners_of_one_service(self) -> None:
        outside, inside = free_ports(2)
        directory = Path(self.mktemp()).resolve()
        directory.mkdir()
        (directory / "mailkit.toml").write_text(
            'store = "memory:"\n'
            f'smtp = ["tcp:{outside}:interface={HOST}", "inside=tcp:{inside}:interface={HOST}"]\n'
            '[smtp-extensions.inside]\nwithout = ["CHUNKING"]\nvrfy = "everyone"\n'
            "[smtp-limits.inside]\nmax-recipients = 250\n",
            "utf-8",
        )
        server = ServerProcess(directory, [outside, inside], "mailkit", "--config", "mailkit.toml")
        with server:
            found = []
            for port in (outside, inside):
                with smtplib.SMTP(HOST, port, "localhost", timeout=60) as client:
                    client.ehlo()
                    features = client.esmtp_features
                    found.append(
                        (
                            "chunking" in features,
                            "RCPTMAX=250" in features["limits"],
                            client.docmd("BDAT", "0 LAST")[0],
                            "vrfy" in features,
                        )
                    )
            self.assertIn(server.stop(), (0, -15), server.log)
        self.assertEqual(found, [(True, False, 503, False), (False, True, 502, True)])
