"""Many sessions that use extensions on one mailbox: what each client believes must be true.

As in ``test_simulation``, but messages are known by UID alone (UIDONLY, QRESYNC), come without being
asked for (NOTIFY), and clients keep results of searches (CONTEXT, SEARCHRES).
"""

from __future__ import annotations

import random
import re

from twisted.trial.unittest import SynchronousTestCase

from tests.imap.believers import FLAGS, KINDS, SEARCHES, Message, Model, make_context, numbers_in
from tests.imap.fakes import Slow
from tests.imap.support import Server, now


class ExtensionSimulationTests(SynchronousTestCase):
    steps = 700

    def simulate(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.limited = self.random.random() < 0.3
        self.server = Server(message_limit=3) if self.limited else Server()
        self.slow = Slow(self.server.account, after=True)
        self.server.realm.account = self.slow
        self.server.add(*[b"Subject: %d\r\n\r\n" % n for n in range(self.random.randrange(8))])
        kinds = [self.random.choice(KINDS) for _ in range(5)]
        self.models = [Model(self.server.login(), kind, self) for kind in kinds]
        for model in self.models:
            model.begin("SELECT INBOX")
            model.listen()
        self.slow.slow = True
        for _ in range(self.steps):
            model = self.random.choice(self.models)
            if self.slow.calls and (model.tag or self.random.random() < 0.5):
                self.slow.release(self.random.randrange(len(self.slow.calls)))
            elif not model.tag:
                model.begin(self.choose(model))
            self.turn()
        self.slow.release_all()
        for _ in range(5):
            self.turn()
        for model in self.models:
            self.assertEqual(model.tag, b"", model.command)
            self.compare(model)

    def turn(self) -> None:
        self.server.clock.advance(0)
        for model in self.models:
            model.listen()

    def uids(self) -> str:
        first = self.random.randint(1, 40)
        return self.random.choice([f"{first}", f"{first}:{first + 3}", f"{first}:*", "1:*"])

    def choose(self, model: Model) -> str:
        dice = self.random
        if dice.random() < 0.15:
            number = dice.randrange(100)
            self.server.add(b"Subject: %d\r\n\r\n" % number)
        flag, sign = dice.choice(FLAGS), dice.choice("+-")
        silent = dice.choice(["", ".SILENT"]) if model.vanishes and not self.limited else ""
        commands = [
            "NOOP",
            f"UID FETCH {self.uids()} (FLAGS)",
            # Not "*": what that is the client need not know.
            f"UID STORE {self.uids().replace('*', '99')} {sign}FLAGS{silent} ({flag})",
            f"UID STORE {self.uids()} {sign}FLAGS ({flag})",
            f"UID SEARCH RETURN (SAVE) {dice.choice(SEARCHES)}",
            "UID FETCH $ (FLAGS)",
            "UID STORE $ +FLAGS (mine)",
            f"UID EXPUNGE {self.uids()}",
            "EXPUNGE",
            "UIDBATCHES 500",
            f"UID SEARCH RETURN (PARTIAL 1:{dice.randint(1, 5)}) {dice.choice(SEARCHES)}",
            f"UID FETCH 1:* (FLAGS) (PARTIAL -1:-{dice.randint(1, 3)})",
            f"UID SEARCH RETURN (SAVE MIN MAX) {dice.choice(SEARCHES)}",
            "UID COPY $ INBOX",
            f"UID MOVE {dice.randint(1, 40)} {dice.choice(['INBOX', 'Trash'])}",
            f"UID REPLACE {dice.randint(1, 40)} INBOX {{14+}}\r\nSubject: 5\r\n\r\n",
            f'APPEND INBOX CATENATE (URL "/INBOX/;UID={dice.randint(1, 40)}" TEXT {{1+}}\r\nx)',
            "SELECT INBOX" if dice.random() < 0.3 else "NOOP",
        ]
        if model.numbered and model.count:
            number = dice.randint(1, model.count)
            commands += [
                f"FETCH {number}:* (UID FLAGS)",
                f"STORE {number} {sign}FLAGS ({flag})",
                f"SEARCH RETURN (COUNT) {number}:* {dice.choice(SEARCHES)}",
                f"COPY {number} INBOX",
                f"MOVE {number} Trash",
                f"REPLACE {number} INBOX {{14+}}\r\nSubject: 3\r\n\r\n",
            ]
        if len(model.contexts) < 4 and not self.limited and dice.random() < 0.4:
            return make_context(model, dice)
        return dice.choice(commands)

    def compare(self, model: Model) -> None:
        """What the client believes is complete, and it is the mailbox."""
        for _ in range(2):
            model.begin("NOOP")
            self.turn()
        box = self.server.mailbox()
        infos = now(box.get_messages(uids=now(box.list_uids())))
        self.assertEqual(model.count, len(infos), model.kind)
        known = list(model.by_uid.values()) if model.vanishes else model.messages
        by_uid = {info.uid: info for info in infos}
        places = zip(model.messages, infos, strict=True) if not model.vanishes else ()
        for message, info in places:
            self.assertIn(message.uid, (0, info.uid), model.kind)
            message.uid = info.uid
        for message in known:
            if message.flags is not None:
                flags = {flag.encode() for flag in by_uid[message.uid].flags}
                self.assertEqual(message.flags, flags, (model.kind, message.uid))
        for context in model.contexts.values():
            again = context.command.replace(" UPDATE", "")
            model.begin(again if context.by_uid else f"UID {again}")
            self.turn()
            (found,) = [line for line in model.lines if line.startswith(b"* ESEARCH")]
            text = re.search(rb"ALL (\S+)", found)
            expected = numbers_in(text[1]) if text else []
            held = [item.uid if isinstance(item, Message) else item for item in context.results]
            if context.sorts:
                self.assertEqual(held, expected, (model.kind, context.command))
            else:
                self.assertEqual(sorted(held), expected, (model.kind, context.command))

    def test_simulation(self) -> None:
        for seed in range(8):
            self.simulate(seed)
