"""``twistd mailkit-mta-sts``: settings, and a server that runs."""

from __future__ import annotations

import http.client
import os
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.task import deferLater
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailkit.https import HTTPSClient
from mailkit.queue.sts import STSMode, parse_policy
from mailkit.queue.sts_fetch import HTTPSFetcher
from mailkit.tap.mta_sts import Options, makeService
from mailkit.tap.tls import self_signed
from mailkit.tls import TLSReloader
from tests.support import PATIENCE

from ..dns.fakes import FakeResolver
from ..support import HOST, ServerProcess, free_ports

reactor: Any = _reactor
ARGUMENTS = ["--listen", "tcp:0:interface=127.0.0.1", "--domain", "example.org"]


class OptionTests(SynchronousTestCase):
    def options(self, *arguments: str) -> Options:
        options = Options()
        options.parseOptions([*ARGUMENTS, *arguments])
        return options

    def test_good_settings(self) -> None:
        options = self.options("--mx", "mx.example.org", "--mx", "*.Example.net")
        self.assertEqual(options.policy.mode, STSMode.TESTING)
        self.assertEqual(options.policy.mx, ("mx.example.org", "*.example.net"))
        self.options("--mode", "none", "--max-age", "86400")

    def test_bad_settings(self) -> None:
        for arguments in (
            [],
            ["--mx", "a b"],
            ["--mx", "mx.example.org", "--mode", "strict"],
            ["--mx", "mx.example.org", "--max-age", "long"],
            ["--mx", "mx.example.org", "--max-age", "99999999"],
            ["--mx", "mx.example.org", "--domain", "a..b"],
            ["--mx", "mx.example.org", "--tls", "/nowhere"],
        ):
            self.assertRaises(usage.UsageError, self.options, *arguments)
        error = self.assertRaises(usage.UsageError, self.options)
        self.assertIn("needs at least one --mx", str(error))
        for arguments in (ARGUMENTS[:2], ARGUMENTS[2:]):
            options = Options()
            mx = ["--mx", "mx.example.org"]
            self.assertRaises(usage.UsageError, options.parseOptions, [*arguments, *mx])


class TLSTests(TestCase):
    async def test_served_under_tls(self) -> None:
        directory = self.mktemp()
        certificate, key = self_signed(directory, ("mta-sts.example.org",))
        options = Options()
        tls = ["--tls", f"{certificate},{key}", "--mx", "mx.example.org"]
        options.parseOptions([*ARGUMENTS, *tls])
        service: Any = makeService(options)
        service.privilegedStartService()
        service.startService()
        self.addCleanup(service.stopService)
        # A renewed certificate is used, too.
        reloader, port = service
        self.assertIsInstance(reloader, TLSReloader)
        number = (await port._waitingForPort).getHost().port
        resolver = FakeResolver(addresses={"mta-sts.example.org": [HOST]})
        client = HTTPSClient(resolver, reactor, ca_file=certificate, port=number)
        octets = await HTTPSFetcher(client).fetch("example.org")
        self.assertEqual(parse_policy(octets), options.policy)
        # Until the server has noticed that we have gone.
        while port.factory.protocols:
            await deferLater(reactor, 0.01)


class ServerTests(SynchronousTestCase):
    def test_served(self) -> None:
        directory = self.mktemp()
        os.mkdir(directory)
        (port,) = free_ports(1)
        listen = ["--listen", f"tcp:{port}:interface={HOST}"]
        domain = ["--domain", "example.org", "--mx", "mx.example.org", "--mode", "enforce"]
        with ServerProcess(directory, [port], "mailkit-mta-sts", *listen, *domain) as server:
            server.wait_for_log('_mta-sts.example.org.  TXT  "v=STSv1; id=')
            connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE)
            headers = {"Host": "mta-sts.example.org"}
            connection.request("GET", "/.well-known/mta-sts.txt", headers=headers)
            response = connection.getresponse()
            self.assertEqual(response.status, 200)
            self.assertEqual(parse_policy(response.read()).mx, ("mx.example.org",))
            connection.close()
            server.stop()
