"""Realistic mail that is the same on every machine.

35 % plain, 35 % multipart/alternative, 25 % with a base64 attachment, 5 % nested with a
message/rfc822. Sizes lognormal from 1 to 60 KiB, median about 8 KiB. 15 % of the subjects are not
ASCII, 40 % are replies with References. 70 % \\Seen.
"""

from __future__ import annotations

import base64
import random
from email.utils import formatdate
from typing import NamedTuple

SEED = 20240229
#: Arrival of the first message, seconds since the epoch.
FIRST_ARRIVAL = 1_600_000_000

_TEXT_WORDS = """
the of and to in is you that it he was for on are as with his they at be this from have or by
one had not but what all were when we there can an your which their said if do will each about
how up out them then she many some so these would other into has more her two like him see time
could no make than first been its who now people my made over did down only way find use may
water long little very after words called just where most know server mailbox invoice meeting
schedule project release budget contract delivery shipment update review deadline
"""
_WORDS = _TEXT_WORDS.split()
_NAMES = [
    "Alice Smith", "Bob Jones", "Jürgen Müller", "Zoë Ångström", "Carlos Núñez", "田中 太郎",
    "Иван Петров", "Dana White", "Erik Larsen", "Fatima Khan", "Greta Berg", "Hugo Silva",
]  # fmt: skip
_FOREIGN_WORDS = ["größe", "naïve café", "проверка связи", "会議の予定"]
_TEXT = 'Content-Type: text/{}; charset="utf-8"\r\nContent-Transfer-Encoding: {}\r\n\r\n'


class Mail(NamedTuple):
    """A message as it lies in a mailbox."""

    content: bytes
    #: Seconds since the epoch.
    arrived: int
    flags: tuple[str, ...] = ()


def _encoded_word(text: str) -> str:
    if text.isascii():
        return text
    return "=?utf-8?B?" + base64.b64encode(text.encode()).decode() + "?="


class Corpus:
    """Makes messages by number."""

    def __init__(self) -> None:
        random_ = random.Random(SEED)
        self._lines = [
            " ".join(random_.choices(_WORDS, k=random_.randint(6, 13))) for _ in range(4000)
        ]
        self._signature = base64.b64encode(random_.randbytes(300)).decode()
        blob = base64.b64encode(random_.randbytes(120_000)).decode()
        self._blob = "\r\n".join(blob[i : i + 76] for i in range(0, len(blob), 76))

    def many(self, count: int) -> list[Mail]:
        """The first ``count`` realistic messages."""
        return [self.message(number) for number in range(count)]

    def message(self, number: int) -> Mail:
        """One realistic message."""
        random_ = random.Random(SEED * 1_000_003 + number)
        size = int(min(60_000, max(1024, random_.lognormvariate(9.0, 0.9))))
        arrived = FIRST_ARRIVAL + number * 1800 + random_.randrange(1500)
        header = self._header(random_, number, formatdate(arrived))
        body = self._body(random_, number, max(200, size - len(header)))
        flags = tuple(
            flag
            for flag, share in (("\\Seen", 0.7), ("\\Answered", 0.2), ("\\Flagged", 0.05))
            if random_.random() < share
        )
        return Mail((header + body).encode(), arrived, flags)

    def _header(self, random_: random.Random, number: int, date: str) -> str:
        sender = f"p{random_.randrange(400)}@sender{random_.randrange(40)}.test"
        subject = " ".join(random_.choices(_WORDS, k=random_.randint(2, 8))).capitalize()
        if random_.random() < 0.15:
            subject += " " + random_.choice(_FOREIGN_WORDS)
        references = ""
        if number > 10 and random_.random() < 0.4:
            chain = [
                f"<{number - step}.{SEED}@mid.sender.test>"
                for step in range(min(number, random_.randint(1, 8)), 0, -1)
            ]
            references = f"In-Reply-To: {chain[-1]}\r\nReferences: " + "\r\n ".join(chain) + "\r\n"
            subject = "Re: " + subject
        trace = "".join(
            f"Received: from relay{hop}.sender.test (relay{hop}.sender.test "
            f"[192.0.2.{random_.randrange(255)}])\r\n"
            f"\tby mx{hop}.example.test with ESMTPS id {random_.getrandbits(48):012x}\r\n"
            f"\tfor <user0@example.test>; {date}\r\n"
            for hop in range(random_.randint(1, 4))
        )
        signature = self._signature
        dkim = (
            "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=sender.test; s=s1;\r\n"
            f"\th=from:to:subject:date:message-id; bh={signature[:44]};\r\n"
            f"\tb={signature[50:120]}\r\n\t {signature[120:190]}\r\n"
        )
        copies = "".join(
            f",\r\n\t{_encoded_word(random_.choice(_NAMES))} <cc{random_.randrange(99)}@example.test>"
            for _ in range(random_.randrange(4))
        )
        return (
            f"Return-Path: <{sender}>\r\n{trace}{dkim if random_.random() < 0.6 else ''}"
            f"Date: {date}\r\nFrom: {_encoded_word(random_.choice(_NAMES))} <{sender}>\r\n"
            f"To: User Zero <user0@example.test>{copies}\r\n"
            f"Subject: {_encoded_word(subject)}\r\n"
            f"Message-ID: <{number}.{SEED}@mid.sender.test>\r\n{references}"
            "MIME-Version: 1.0\r\nUser-Agent: Bench/1.0\r\n"
        )

    def _body(self, random_: random.Random, number: int, room: int) -> str:
        kind, boundary = random_.random(), f"=_b{number:x}"
        if kind < 0.35:
            return _TEXT.format("plain", "7bit") + self._text(random_, room) + "\r\n"
        third = room // 3
        html = self._text(random_, room - third if kind < 0.7 else third)
        alternative = (
            f'Content-Type: multipart/alternative;\r\n\tboundary="{boundary}"\r\n\r\n'
            f"--{boundary}\r\n{_TEXT.format('plain', '7bit')}{self._text(random_, third)}\r\n"
            f"--{boundary}\r\n{_TEXT.format('html', 'quoted-printable')}"
            f"<html><body><p>{html} caf=C3=A9</p></body></html>\r\n--{boundary}--\r\n"
        )
        if kind < 0.7:
            return alternative
        nested = (
            f"--{boundary}m\r\nContent-Type: message/rfc822\r\n\r\nFrom: x@y.test\r\n"
            f"Subject: inner\r\n\r\n{self._text(random_, 400)}\r\n"
        )
        start = random_.randrange(1000) * 78
        attachment = self._blob[start : start + max(78, room - 2 * third)]
        return (
            f'Content-Type: multipart/mixed; boundary="{boundary}m"\r\n\r\nThis is MIME.\r\n'
            f"--{boundary}m\r\n{alternative}{nested if kind >= 0.95 else ''}"
            f'--{boundary}m\r\nContent-Type: application/pdf; name="doc{number}.pdf"\r\n'
            "Content-Transfer-Encoding: base64\r\n"
            f'Content-Disposition: attachment; filename="doc{number}.pdf"\r\n\r\n'
            f"{attachment}\r\n--{boundary}m--\r\n"
        )

    def _text(self, random_: random.Random, size: int) -> str:
        start = random_.randrange(len(self._lines))
        return "\r\n".join((self._lines + self._lines)[start : start + max(1, size // 48)])

    def fixed(self, size: int, number: int = 0) -> bytes:
        """A plain message of exactly ``size`` octets (CRLF, no leading dots)."""
        head = (
            "From: Bench <s@sender.test>\r\nTo: <user@example.test>\r\n"
            f"Subject: bench {number}\r\nDate: {formatdate(FIRST_ARRIVAL + number)}\r\n"
            f"Message-ID: <f{number}.{size}@mid.sender.test>\r\n"
            "MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n"
        )
        line = self._lines[number % 4000][:40].ljust(76, "x") + "\r\n"
        rest = size - len(head)
        # The last line takes up what is left, its CRLF included.
        body = line * ((rest - 2) // len(line))
        return (head + body + "y" * (rest - len(body) - 2) + "\r\n").encode()
