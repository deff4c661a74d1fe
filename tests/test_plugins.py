"""What mailkit adds to twistd."""

from __future__ import annotations

import subprocess
import sys

from twisted.application.service import IService, IServiceMaker, MultiService
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mailkit.tap.services import MailService
from tests.support import environment

COMMANDS = {
    "mailkit": "--imap",
    "mailkit-smtp": "--listen",
    "mailkit-lmtp": "--listen",
    "mailkit-submission": "--listen",
    "mailkit-pop3": "--listen",
    "mailkit-imap": "--listen",
    "mailkit-relay": "--listen",
    "mailkit-ftp": "--listen",
}

#: Those that serve no mail.
OTHERS = ("mailkit-mta-sts", "mailkit-no-mail")


class PluginTests(SynchronousTestCase):
    """twistd finds the commands, and each makes a service."""

    def setUp(self) -> None:
        self.makers = {
            maker.tapname: maker
            for maker in getPlugins(IServiceMaker)
            if maker.tapname.partition("-")[0] == "mailkit"
        }

    def test_all_are_found(self) -> None:
        self.assertEqual(set(self.makers), {*COMMANDS, *OTHERS})
        for maker in self.makers.values():
            self.assertTrue(maker.description.endswith("."))

    def test_each_makes_a_service_of_ports(self) -> None:
        for name, option in COMMANDS.items():
            maker = self.makers[name]
            options = maker.options()
            arguments = [option, "tcp:0:interface=127.0.0.1", option, "tcp:0:interface=127.0.0.1"]
            options.parseOptions([*arguments, "--store", "memory:"])
            service = maker.makeService(options)
            self.assertTrue(verifyObject(IService, service))
            self.assertIsInstance(service, MailService)
            self.assertIsInstance(service, MultiService)
            self.assertEqual(len(list(service)), 2)

    def test_listing_the_commands_loads_none_of_them(self) -> None:
        program = (
            "import sys\n"
            "from twisted.scripts.twistd import ServerOptions\n"
            "text = str(ServerOptions())\n"
            "assert all(f' {name} ' in text for name in sys.argv[1:]), text\n"
            "print(*[m for m in sys.modules if m.startswith(('mailkit.', 'OpenSSL', 'argon2'))])\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, *COMMANDS, *OTHERS],
            capture_output=True,
            text=True,
            timeout=60,
            env=environment(),
        )
        self.assertEqual((done.returncode, done.stdout.strip()), (0, ""), done.stderr)

    def test_a_server_without_a_queue_loads_nothing_that_works_on_one(self) -> None:
        program = (
            "import sys\n"
            "from mailkit.tap.mail import Options, makeService\n"
            "options = Options()\n"
            "endpoint = 'tcp:0:interface=127.0.0.1'\n"
            "options.parseOptions(['--store', 'memory:', '--smtp', endpoint, '--imap', endpoint])\n"
            "makeService(options)\n"
            "assert 'mailkit.imap.protocol' in sys.modules and 'mailkit.smtp.protocol' in sys.modules\n"
            "heavy = ('mailkit.queue.manager', 'mailkit.client', 'mailkit.smtp.client')\n"
            "print(*[m for m in sys.modules if m.startswith(heavy)])\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            timeout=60,
            env=environment(),
        )
        self.assertEqual((done.returncode, done.stdout.strip()), (0, ""), done.stderr)
