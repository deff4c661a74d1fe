"""The IMAP server with aioimaplib and imapflow: plain, with STARTTLS and under TLS, over loopback."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from twisted.trial.unittest import SkipTest

from tests.interop.test_imap_clients import MESSAGES, PASSWORD, PLAIN, USER, IMAPCase
from tests.support import HOST, PATIENCE, ROOT

try:
    from aioimaplib import aioimaplib
except ImportError:  # pragma: no cover
    aioimaplib = None

pytestmark = pytest.mark.interop

#: Where ``make interop`` puts what npm brings.
NODE_MODULES = ROOT / ".interop" / "node_modules"
APPENDED = b"Subject: appended\r\nFrom: ann@example.org\r\n\r\nnew\r\n"


class AioimaplibTests(IMAPCase):
    async def setUp(self) -> None:
        if aioimaplib is None:
            raise SkipTest("aioimaplib is not installed (pip install .[test])")
        await super().setUp()

    def plain(self) -> Any:
        return aioimaplib.IMAP4(HOST, self.port, timeout=PATIENCE)

    def under_tls(self) -> Any:
        context = self.client_tls()
        return aioimaplib.IMAP4_SSL(HOST, self.tls_port, timeout=PATIENCE, ssl_context=context)

    async def test_plain(self) -> None:
        await self.in_thread(asyncio.run, self.session(self.plain))

    async def test_tls(self) -> None:
        await self.in_thread(asyncio.run, self.session(self.under_tls))

    def ok(self, response: Any) -> list[bytes]:
        self.assertEqual(response.result, "OK", response)
        return list(response.lines)

    async def session(self, connect: Callable[[], Any]) -> None:
        # Made here: it connects in the loop that runs.
        client = connect()
        await client.wait_hello_from_server()
        self.ok(await client.login(USER, PASSWORD))
        names = self.ok(await client.list('""', "*"))
        self.assertIn(b'(\\HasNoChildren) "/" "INBOX"', names)
        self.assertIn(b"3 EXISTS", self.ok(await client.select("INBOX")))

        lines = self.ok(await client.fetch("1", "(UID FLAGS BODY.PEEK[])"))
        self.assertEqual(bytes(lines[1]), PLAIN)
        lines = self.ok(await client.uid("fetch", "1:3", "(RFC822.SIZE)"))
        sizes = [int(line.split()[-1].rstrip(b")")) for line in lines if b"RFC822.SIZE" in line]
        self.assertEqual(sizes, list(map(len, MESSAGES)))

        lines = self.ok(await client.append(APPENDED, mailbox="INBOX", flags="\\Seen"))
        self.assertTrue(any(b"APPENDUID" in line for line in lines), lines)
        self.assertEqual(self.ok(await client.search("SEEN"))[0], b"4")
        self.ok(await client.store("2", "+FLAGS", "(\\Flagged)"))
        self.assertEqual(self.ok(await client.search("FLAGGED"))[0], b"2")
        self.assertEqual(self.ok(await client.search('SUBJECT "Grüße"', charset="utf-8"))[0], b"2")

        idle = await client.idle_start(timeout=PATIENCE)
        other = connect()
        await other.wait_hello_from_server()
        self.ok(await other.login(USER, PASSWORD))
        self.ok(await other.append(APPENDED, mailbox="INBOX"))
        pushed = await client.wait_server_push(PATIENCE)
        self.assertIn(b"5 EXISTS", pushed)
        client.idle_done()
        await asyncio.wait_for(idle, PATIENCE)

        self.ok(await client.move("4:5", "Trash"))
        self.assertEqual(self.ok(await client.search("ALL"))[0], b"1 2 3")
        self.assertIn(b"MESSAGES 2", self.ok(await other.status("Trash", "(MESSAGES)"))[0])
        self.ok(await client.store("1", "+FLAGS", "(\\Deleted)"))
        self.ok(await client.expunge())
        self.ok(await other.logout())
        self.ok(await client.logout())


class ImapflowTests(IMAPCase):
    """All that a session does, told back as JSON."""

    SCRIPT = """
const { ImapFlow } = require('imapflow');
const fs = require('fs');
const [port, secure, user, pass, ca, appended] = JSON.parse(process.argv.at(-1));
const settings = {
    host: '127.0.0.1', port, secure, auth: { user, pass }, logger: false,
    tls: { ca: fs.readFileSync(ca) },
};
const told = {};
async function main() {
    const client = new ImapFlow(settings);
    await client.connect();
    told.secure = client.secureConnection;
    told.names = (await client.list()).map(box => box.path);
    await client.mailboxOpen('INBOX');
    told.exists = client.mailbox.exists;
    told.sizes = [];
    for await (const message of client.fetch('1:*', { uid: true, size: true, envelope: true })) {
        told.sizes.push(message.size);
        told.subject = told.subject || message.envelope.subject;
    }
    told.source = (await client.fetchOne('1', { source: true })).source.toString('latin1');
    const other = new ImapFlow(settings);
    await other.connect();
    const heard = new Promise(resolve => client.once('exists', resolve));
    const idle = client.idle();
    told.appended = (await other.append('INBOX', Buffer.from(appended), ['\\\\Seen'])).uid;
    told.heard = (await heard).count;
    await other.logout();
    told.flagged = await client.messageFlagsAdd('2', ['\\\\Flagged']);
    await idle;
    told.found = await client.search({ flagged: true });
    told.seen = await client.search({ seen: true }, { uid: true });
    told.moved = (await client.messageMove('4', 'Trash')).uidMap.size;
    told.deleted = await client.messageDelete('1');
    told.status = (await client.status('Trash', { messages: true })).messages;
    await client.logout();
}
main().then(() => console.log(JSON.stringify(told)), error => {
    console.error(error, error.response);
    process.exit(1);
});
"""

    async def setUp(self) -> None:
        if not (NODE_MODULES / "imapflow").is_dir():
            raise SkipTest(f"imapflow is not in {NODE_MODULES} (make interop)")
        await super().setUp()

    async def test_starttls(self) -> None:
        await self.run_session(self.port, False)

    async def test_tls(self) -> None:
        await self.run_session(self.tls_port, True)

    async def run_session(self, port: int, secure: bool) -> None:
        arguments = [port, secure, USER, PASSWORD, self.certificate, APPENDED.decode()]
        done: subprocess.CompletedProcess[bytes] = await self.run_program(
            *("node", "-e", self.SCRIPT, "--", "-", json.dumps(arguments)),
            NODE_PATH=str(NODE_MODULES),
        )
        told = json.loads(done.stdout)
        names = told.pop("names")
        self.assertTrue({"INBOX", "Trash", "Sent"} <= set(names), names)
        self.assertEqual(told.pop("source").encode("latin-1"), PLAIN)
        self.assertEqual(
            told,
            {
                "secure": True,
                "exists": 3,
                "sizes": list(map(len, MESSAGES)),
                "subject": "one",
                "appended": 4,
                "heard": 4,
                "flagged": True,
                "found": [2],
                "seen": [4],
                "moved": 1,
                "deleted": True,
                "status": 1,
            },
        )
