"""What ``twistd mail --esmtp`` builds, ESMTP and POP3 over Maildir.

twisted_mail.py SMTP POP3 DIRECTORY DOMAIN USERS PASSWORD. A script, with three repairs: in Twisted
26.10 ``startMessage`` joins str with bytes (every DATA ends in 550), ``getMessage`` opens in text
mode (every RETR hangs), ``deleteMessage`` joins str with bytes (every DELE drops the connection).
"""

from __future__ import annotations

import os
import sys
from typing import IO, Any

from twisted.cred import checkers
from twisted.internet import reactor
from twisted.mail import mail, maildir


class Domain(maildir.MaildirDirdbmDomain):
    """With the first repair."""

    def startMessage(self, user: Any) -> mail.FileMessage:  # noqa: N802 - Twisted's name
        """A file for one recipient's message."""
        box = self.userDirectory(user.dest.local)
        name = maildir._generateMaildirName()
        temporary = os.path.join(box, b"tmp", name)
        return mail.FileMessage(open(temporary, "wb"), temporary, os.path.join(box, b"new", name))


def _get_message(self: maildir.MaildirMailbox, index: int) -> IO[bytes]:
    return open(self.list[index], "rb")


def _delete_message(self: maildir.MaildirMailbox, index: int) -> None:
    trash = os.path.join(self.path, b".Trash", b"cur", os.path.basename(self.list[index]))
    os.rename(self.list[index], trash)
    self.deleted[self.list[index]] = trash
    self.list[index] = 0


maildir.MaildirMailbox.getMessage = _get_message
maildir.MaildirMailbox.deleteMessage = _delete_message

smtp_port, pop3_port, root, name, count, password = sys.argv[1:]
service = mail.MailService()
domain = Domain(service, root)
service.addDomain(name.encode(), domain)
for number in range(int(count)):
    domain.addUser(b"user%d" % number, password.encode())
service.smtpPortal.registerChecker(checkers.AllowAnonymousAccess())
smtp_factory = service.getESMTPFactory()
smtp_factory.domain = b"mx.example.test"
smtp_factory.fArgs = (None, None, smtp_factory.domain)
pop3_factory = service.getPOP3Factory()
for port, factory in ((smtp_port, smtp_factory), (pop3_port, pop3_factory)):
    factory.noisy = False
    reactor.listenTCP(int(port), factory, interface="127.0.0.1", backlog=512)
reactor.run()
