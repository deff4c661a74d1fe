"""``twistd mailkit-no-mail``: settings, and a server that runs."""

from __future__ import annotations

import os
import smtplib
import socket
from typing import Any

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from mailkit.tap import mta_sts, no_mail
from mailkit.tap.errors import CannotStart
from mailkit.tap.no_mail import Options

from ..support import HOST, PATIENCE, ServerProcess, free_ports


class OptionTests(SynchronousTestCase):
    def test_bad_settings(self) -> None:
        listen = ["--listen", "tcp:0"]
        for arguments, wanted in (
            ([], "at least one --listen"),
            (["--listen", "nowhere:1"], "--listen: "),
            ([*listen, "--hostname", "a b"], "--hostname: "),
            ([*listen, "word"], "'word'"),
        ):
            error = self.assertRaises(usage.UsageError, Options().parseOptions, arguments)
            self.assertIn(wanted, str(error))


class StartTests(SynchronousTestCase):
    def test_a_port_that_is_taken(self) -> None:
        with socket.create_server((HOST, 0)) as taken:
            listen = f"tcp:{taken.getsockname()[1]}:interface={HOST}"
            policy = ["--domain", "example.org", "--mx", "mx.example.org"]
            for command, arguments in ((no_mail, []), (mta_sts, policy)):
                options: Any = command.Options()  # type: ignore[attr-defined]
                options.parseOptions(["--listen", listen, *arguments])
                service: Any = command.makeService(options)  # type: ignore[attr-defined]
                error = self.assertRaises(CannotStart, service.privilegedStartService)
                self.assertEqual(str(error), f"mailkit: --listen {listen}: Address already in use")


class ServerTests(SynchronousTestCase):
    def test_served(self) -> None:
        directory = self.mktemp()
        os.mkdir(directory)
        ports = free_ports(2)
        listen = [word for port in ports for word in ("--listen", f"tcp:{port}:interface={HOST}")]
        arguments = ("mailkit-no-mail", *listen, "--hostname", "www.example.org")
        with ServerProcess(directory, ports, *arguments) as server:
            for port in ports:
                client = smtplib.SMTP(timeout=PATIENCE)
                code, text = client.connect(HOST, port)
                self.assertEqual(code, 521)
                self.assertIn(b"www.example.org", text)
                self.assertEqual(client.ehlo("client.example")[0], 521)
                self.assertEqual(client.quit()[0], 221)
            server.stop()
