"""Thunderbird, as people use it: it reads by IMAP and sends by submission."""

from __future__ import annotations

import base64
import imaplib
import smtplib
import time
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509

from tests.certificates import Identity, authority, make_identity
from tests.interop.support import ANN, BOB, WholeServerTestCase, message
from tests.interop.thunderbird import Thunderbird
from tests.support import HOST, PATIENCE

pytestmark = pytest.mark.interop

_PASSWORD = f"{ANN} secret"
# It shows what it hears of while it fetches other messages only when the next one has come.
_RULE = """
[imap-clients.thunderbird]
match = { name = "Thunderbird" }
quirks = ["delay-newmail"]
"""
#: Of nsMsgSocketType
_PLAIN, _TLS = 0, 3
_LOG_IN = """
const [user, password, ca] = given;
if (ca) {
  const certificates = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB);
  certificates.addCertFromBase64(ca, "C,,");
}
for (const place of ["imap://127.0.0.1", "smtp://127.0.0.1"]) {
  const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
  login.init(place, null, place, user, password, "", "");
  await Services.logins.addLoginAsync(login);
}
inbox.updateFolder(null);
await until(() => root.descendants.length >= 6);
return root.descendants.map((each) => each.name).sort();
"""


class ThunderbirdTests(WholeServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        issuer = authority()
        self.ca = base64.b64encode(issuer.der).decode()
        self.write_certificate(issuer)
        with self.config.open("a") as config:
            config.write(_RULE)
        self.start()
        for subject in ("one", "two", "three"):
            self.deliver(subject)

    def write_certificate(self, issuer: Identity) -> None:
        identity = make_identity([HOST], issuer, others=[x509.IPAddress(ip_address(HOST))])
        for name, octets in (("certificate.pem", identity.pem), ("key.pem", identity.key_pem)):
            (self.directory / "tls" / name).write_bytes(octets)

    def deliver(self, subject: str) -> None:
        with smtplib.SMTP(HOST, self.ports["smtp"], timeout=PATIENCE) as client:
            client.sendmail(BOB, [ANN], message(subject))

    def open(self, tls: bool) -> Thunderbird:
        kind = _TLS if tls else _PLAIN
        settings = {
            "mail.accountmanager.accounts": "account1",
            "mail.accountmanager.defaultaccount": "account1",
            "mail.account.account1.identities": "id1",
            "mail.account.account1.server": "server1",
            "mail.identity.id1.fullName": "Ann",
            "mail.identity.id1.useremail": ANN,
            "mail.identity.id1.smtpServer": "smtp1",
            "mail.identity.id1.valid": True,
            "mail.server.server1.type": "imap",
            "mail.server.server1.hostname": HOST,
            "mail.server.server1.port": self.ports["imaps" if tls else "imap"],
            "mail.server.server1.userName": ANN,
            "mail.server.server1.socketType": kind,
            "mail.server.server1.authMethod": 3,
            "mail.smtpservers": "smtp1",
            "mail.smtpserver.smtp1.hostname": HOST,
            "mail.smtpserver.smtp1.port": self.ports["submissions" if tls else "submission"],
            "mail.smtpserver.smtp1.username": ANN,
            "mail.smtpserver.smtp1.try_ssl": kind,
            "mail.smtpserver.smtp1.authMethod": 3,
        }
        thunderbird = Thunderbird(Path(self.directory, "thunderbird"), settings)
        self.addCleanup(thunderbird.kill)
        names = thunderbird.run(_LOG_IN, ANN, _PASSWORD, self.ca if tls else "")
        self.assertEqual(names, ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"])
        return thunderbird

    def on_server(self, mailbox: str) -> dict[str, tuple[set[str], bytes]]:
        """Flags and contents by subject."""
        found = {}
        with imaplib.IMAP4(HOST, self.ports["imap"], timeout=PATIENCE) as client:
            client.login(ANN, _PASSWORD)
            client.select(mailbox, readonly=True)
            _, items = client.fetch("1:*", "(FLAGS BODY.PEEK[])")
            for head, octets in (item for item in items if isinstance(item, tuple)):
                flags = {flag.decode() for flag in imaplib.ParseFlags(head)} - {"\\Recent"}
                subject = octets.partition(b"Subject: ")[2].partition(b"\r\n")[0]
                found[subject.decode()] = flags, octets
        return found

    def wait_for_flags(self, subject: str, flags: set[str]) -> None:
        give_up = time.monotonic() + PATIENCE
        while self.on_server("INBOX")[subject][0] != flags:
            self.assertLess(time.monotonic(), give_up, self.on_server("INBOX"))
            time.sleep(0.05)

    def test_reading_and_filing(self) -> None:
        thunderbird = self.open(tls=True)
        run = thunderbird.run
        run("await arrival(inbox, 'three')")
        self.assertEqual(run("return subjects(inbox)"), ["one", "three", "two"])
        octets = run("return await source(inbox, 'one')").encode("latin-1")
        self.assertTrue(octets.endswith(message("one")), octets)
        run(
            "inbox.markMessagesRead([message(inbox, 'one')], true);"
            "inbox.markMessagesFlagged([message(inbox, 'one')], true);"
            "inbox.addKeywordsToMessages([message(inbox, 'two')], '$label1')"
        )
        # It sends them in its own time, which may be after the copy.
        self.wait_for_flags("one", {"\\Seen", "\\Flagged"})
        self.wait_for_flags("two", {"$label1"})
        run("await copy('two', inbox, folder('Archive'), true)")
        run("await remove('three', inbox)")
        run("await arrival(folder('Archive'), 'two'); await arrival(folder('Trash'), 'three')")
        self.assertEqual(run("return subjects(inbox)"), ["one"])
        self.assertEqual({*self.on_server("INBOX")}, {"one"})
        self.assertEqual(self.on_server("INBOX")["one"][0], {"\\Seen", "\\Flagged"})
        self.assertEqual(self.on_server("Archive")["two"][0], {"$label1"})
        self.assertTrue(self.on_server("Archive")["two"][1].endswith(message("two")))
        self.assertEqual({*self.on_server("Trash")}, {"three"})
        # A folder of the user's own, and another name for it.
        run("root.createSubfolder('Grüße & mehr', null); await until(() => folder('Grüße & mehr'))")
        run("folder('Grüße & mehr').rename('Neues', null); await until(() => folder('Neues'))")
        run("await copy('one', inbox, folder('Neues'), false)")
        run("await arrival(folder('Neues'), 'one')")
        self.assertEqual({*self.on_server("Neues")}, {"one"})
        self.assertEqual(run("return await search(inbox, '..two')"), ["one"])
        self.assertEqual(run("return await search(inbox, 'nowhere')"), [])

    def test_sending_and_hearing_of_new_mail(self) -> None:
        thunderbird = self.open(tls=False)
        run = thunderbird.run
        run("await arrival(inbox, 'three')")
        # By IDLE.
        self.deliver("four")
        run("await until(() => message(inbox, 'four'))")
        run("await send(...given)", ANN, "Grüße von mir", "Schöne Grüße\r\n.\r\n..\r\n")
        run("await until(() => message(inbox, 'Grüße von mir'))")
        run("await arrival(folder('Sent'), 'Grüße von mir')")
        (sent,) = (octets for _, octets in self.on_server("Sent").values())
        received = [text for each, text in self.on_server("INBOX").values() if text.endswith(sent)]
        self.assertEqual(len(received), 1, self.on_server("INBOX"))
        self.assertTrue(sent.endswith("\r\nSchöne Grüße\r\n.\r\n..\r\n".encode()), sent)
