"""What is made of messages is the same whichever way it is made."""

from __future__ import annotations

from mailkit.model import AppendMessage
from mailkit.spool import Spool
from mailkit.store.sqlite import StoreSettings
from mailkit.store.sqlite.bodies import BodyFiles, BodyPlace
from mailkit.store.sqlite.making import Job, Made, Wanted, make
from tests.mime.corpus import MISSING, messages

from .helpers import StoreTestCase

LONG = b"X: " + b"y" * 20_000 + b"\r\n"
CONTENTS = (
    b"From: ann@example.org\r\nTo: b@x, c@y\r\nSubject: one\r\n two\r\n\r\ntext\r\n",
    b"From: a@x\r\nfrom: b@x\r\nTo: c@x\r\nTO: d@x\r\n\r\n",
    b"Subject: no end",
    b"\r\nFrom: not@header\r\n\r\n",
    LONG + b"Subject: far away\r\n\r\ntext\r\n",
    LONG * 60 + b"Subject: too far away\r\n\r\ntext\r\n",
    b"Subject: bare\nFrom: a@x\n\nline feeds\n",
    b"no header at all",
    b"",
)


class MakingTests(StoreTestCase):
    async def check(self, *contents: bytes) -> None:
        """One look at the headers gives what two looks, and one at whole messages, give."""
        store = await self.make_store(settings=StoreSettings(summarize_ahead=False))
        inbox = await self.mailbox(store)
        for start in range(0, len(contents), 100):
            some = contents[start : start + 100]
            await inbox.append(messages=[AppendMessage(Spool.from_bytes(each)) for each in some])
        core = store.core
        found = core.reader.find_places(inbox._id, await inbox.list_uids())
        places = list(found.values())
        self.assertEqual(len(places), len(contents))
        heads = make_all(core.bodies, Wanted.HEADS, places)
        self.assertEqual(heads.texts, make_all(core.bodies, Wanted.TEXTS, places).texts)
        whole = make_all(core.bodies, Wanted.SUMMARIES | Wanted.STRUCTURES, places).summaries
        self.assertEqual(
            heads.summaries,
            [(body_id, summary._replace(body_structure=b"")) for body_id, summary in whole],
        )
        self.assertEqual(heads.summaries, make_all(core.bodies, Wanted.SUMMARIES, places).summaries)
        self.assertEqual((heads.damaged, heads.moved), ([], []))

    async def test_headers_of_all_kinds(self) -> None:
        await self.check(*CONTENTS)

    async def test_the_corpus(self) -> None:
        if MISSING:
            self.skipTest(MISSING)
        await self.check(*(octets for _, octets in messages()))


def make_all(bodies: BodyFiles, wanted: Wanted, places: list[BodyPlace]) -> Made:
    """In the order of the messages, which is not that of the log for large ones."""
    made = make(bodies, wanted, list(map(Job, places)))
    return made._replace(texts=sorted(made.texts), summaries=sorted(made.summaries))
