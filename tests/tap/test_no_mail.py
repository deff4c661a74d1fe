"""``twistd mailkit-no-mail``: settings, and a server that runs."""

from __future__ import annotations

import os
import smtplib

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

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
