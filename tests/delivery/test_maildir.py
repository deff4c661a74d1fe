"""Delivery into Maildirs."""

from __future__ import annotations

import errno
import mailbox
import os
import stat
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from mailkit.delivery import maildir
from mailkit.delivery.maildir import MaildirDelivery
from mailkit.errors import (
    MailError,
    NoSuchRecipient,
    OverQuota,
    RelayDenied,
    StoreFull,
    StoreUnavailable,
    TemporaryFailure,
)
from mailkit.interfaces import IMessageDelivery
from mailkit.model import Path, Recipient
from mailkit.spool import Spool
from mailkit.testing import DeliveryContract
from tests.delivery.fakes import make_envelope

ANN, BOB = "ann@example.org", "bob@example.org"
CONTENT = b"Received: x\r\nSubject: hi\r\n\r\nhi\r\n"


class MaildirTestCase(TestCase):
    def setUp(self) -> None:
        self.root = os.path.abspath(self.mktemp())
        os.mkdir(self.root)

    def make(self, *names: str) -> None:
        for name in names:
            for part in ("tmp", "new", "cur"):
                os.makedirs(os.path.join(self.root, name, part))

    def delivery(self, path: str = "%d/%u", **settings: Any) -> MaildirDelivery:
        return MaildirDelivery(os.path.join(self.root, path), **settings)

    async def deliver(
        self,
        *addresses: str,
        content: bytes = CONTENT,
        delivery: MaildirDelivery | None = None,
        **settings: Any,
    ) -> list[type[MailError] | None]:
        """Classes of the errors, by recipient."""
        envelope = make_envelope(*addresses, **settings)
        spool = Spool(memory_limit=100)
        spool.write(content)
        outcomes = await (delivery or self.delivery()).deliver(envelope=envelope, message=spool)
        spool.close()
        self.assertEqual([outcome.recipient for outcome in outcomes], envelope.recipients)
        return [outcome.error and type(outcome.error) for outcome in outcomes]

    async def check(self, address: str, delivery: MaildirDelivery | None = None) -> None:
        path = Path(*address.rpartition("@")[::2])
        await (delivery or self.delivery()).check_recipient(
            envelope=make_envelope(), recipient=Recipient(path)
        )

    def files(self, name: str = "") -> list[str]:
        """All files below a directory."""
        found = os.walk(os.path.join(self.root, name))
        return [os.path.join(folder, file) for folder, _, files in found for file in files]

    def read(self, name: str) -> bytes:
        """The one message of a Maildir."""
        (path,) = self.files(name)
        with open(path, "rb") as file:
            return file.read()


class MaildirTests(MaildirTestCase):
    def test_interface(self) -> None:
        verifyObject(IMessageDelivery, self.delivery())

    async def test_a_message(self) -> None:
        self.make("example.org/ann", "example.org/bob")
        clock = Clock()
        clock.advance(1700000000.25)
        delivery = self.delivery(clock=clock)
        self.assertEqual(await self.deliver(ANN, delivery=delivery), [None])
        (path,) = self.files("example.org/ann/new")
        content = (
            b"Return-Path: <ann@example.net>\nDelivered-To: ann@example.org\n"
            b"Received: x\nSubject: hi\n\nhi\n"
        )
        self.assertEqual(self.read("example.org/ann"), content)
        size = len(content) + content.count(b"\n")
        name = os.path.basename(path)
        self.assertRegex(
            name,
            rf"^1700000000\.M250000P{os.getpid()}Q1R[0-9a-f]{{8}}\.[^/:]+,S={len(content)},W={size}$",
        )
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.assertEqual(self.files("example.org/bob"), [])

    async def test_other_programs_read_it(self) -> None:
        self.make("example.org/ann")
        await self.deliver(ANN)
        (message,) = mailbox.Maildir(os.path.join(self.root, "example.org/ann"), create=False)
        self.assertEqual((message["Subject"], message.get_payload()), ("hi", "hi\n"))

    async def test_each_recipient_by_itself(self) -> None:
        self.make("example.org/ann", "example.org/bob")
        addresses = ANN, "eve@example.org", "Bob@Example.ORG"
        self.assertEqual(await self.deliver(*addresses), [None, NoSuchRecipient, None])
        self.assertIn(b"\nDelivered-To: ann@example.org\n", self.read("example.org/ann"))
        self.assertIn(b"\nDelivered-To: Bob@Example.ORG\n", self.read("example.org/bob"))

    async def test_any_octets_and_line_ends_between_chunks(self) -> None:
        self.make("example.org/ann")
        self.patch(maildir, "_CHUNK", 7)
        content = b"Subject: x\r\n\r\n" + bytes(range(256)) + b"a\r\r\n\rb\r\n" * 20 + b"\r"
        await self.deliver(ANN, content=content)
        head = b"Return-Path: <ann@example.net>\nDelivered-To: ann@example.org\n"
        self.assertEqual(self.read("example.org/ann"), head + content.replace(b"\r\n", b"\n"))

    async def test_what_was_quarantined(self) -> None:
        self.make("example.org/ann", "example.org/ann/.Junk", "example.org/bob")
        envelope = make_envelope(ANN, BOB)
        envelope.quarantine = "looks bad"
        await self.delivery().deliver(envelope=envelope, message=Spool.from_bytes(CONTENT))
        self.assertEqual(len(self.files("example.org/ann/.Junk/new")), 1)
        self.assertEqual(self.files("example.org/ann/new"), [])
        self.assertEqual(len(self.files("example.org/bob/new")), 1)
        self.assertEqual(await self.deliver(ANN), [None])
        self.assertEqual(len(self.files("example.org/ann/new")), 1)

    async def test_many_at_once_have_names_of_their_own(self) -> None:
        self.make("example.org/ann")
        delivery = self.delivery(clock=Clock())
        await gatherResults(
            [Deferred.fromCoroutine(self.deliver(ANN, delivery=delivery)) for _ in range(50)]
        )
        self.assertEqual(len(self.files("example.org/ann/new")), 50)

    async def test_too_many_wait(self) -> None:
        self.patch(maildir, "MAX_WAITING", 0)
        delivery = self.delivery()
        with self.assertRaises(TemporaryFailure):
            await self.check(ANN, delivery)

    async def test_the_name_of_the_machine(self) -> None:
        self.make("example.org/ann")
        with mock.patch("socket.gethostname", return_value="a/b:c"):
            delivery = self.delivery()
        await self.deliver(ANN, delivery=delivery)
        (path,) = self.files("example.org/ann/new")
        self.assertIn(r".a\057b\072c,S=", os.path.basename(path))


class RecipientTests(MaildirTestCase):
    """Who has a Maildir, and where."""

    async def test_those_who_have_one(self) -> None:
        self.make("example.org/ann", "example.org/eve+x")
        os.makedirs(os.path.join(self.root, "example.org/cur"))
        for address in ("Ann@EXAMPLE.org", "ann+lists@example.org", "eve+x@example.org"):
            await self.check(address)
        for address in (BOB, "ann@example.net", "eve@example.org", "+ann@example.org"):
            with self.assertRaises(NoSuchRecipient):
                await self.check(address)
        with self.assertRaises(NoSuchRecipient):
            await self.check("ann+lists@example.org", self.delivery(separator=""))

    async def test_details_that_no_name_of_a_file_may_have(self) -> None:
        # RFC 5233 section 4: what they are is left to whoever uses them.
        self.make("example.org/ann", "x")
        for local in ("ann+a/b", "ann+../../x", "ann+.a", "ann+" + "x" * 256):
            path = Path(local, "example.org")
            await self.delivery().check_recipient(
                envelope=make_envelope(), recipient=Recipient(path)
            )
            envelope = make_envelope()
            envelope.recipients = [Recipient(path)]
            (outcome,) = await self.delivery().deliver(
                envelope=envelope, message=Spool.from_bytes(CONTENT)
            )
            self.assertIsNone(outcome.error)
        self.assertEqual(len(self.files("example.org/ann/new")), 4)

    async def test_details_that_no_local_part_may_have(self) -> None:
        self.make("example.org/ann")
        for character in "\r\n\t\0\x7f\x85\u2028\u2029\udcff":
            envelope = make_envelope()
            envelope.recipients = [Recipient(Path(f"ann+a{character}X-Evil: 1", "example.org"))]
            with self.assertRaises(NoSuchRecipient):
                await self.delivery().check_recipient(
                    envelope=envelope, recipient=envelope.recipients[0]
                )
            (outcome,) = await self.delivery().deliver(
                envelope=envelope, message=Spool.from_bytes(CONTENT)
            )
            self.assertIsInstance(outcome.error, NoSuchRecipient)
        self.assertEqual(self.files(), [])

    async def test_names_that_lead_out_of_the_directory(self) -> None:
        self.make("ann", "example.org/ann", "example.org/.hidden", "x")
        for create in (False, True):
            delivery = self.delivery(create=create)
            for local in ("..", "../../ann", "/etc", ".hidden", "", "a\0b", "a\nb", "x" * 256, "."):
                for path in (Path(local, "example.org"), Path("ann", local)):
                    with self.assertRaises(NoSuchRecipient):
                        await delivery.check_recipient(
                            envelope=make_envelope(), recipient=Recipient(path)
                        )
                    envelope = make_envelope()
                    envelope.recipients = [Recipient(path)]
                    (outcome,) = await delivery.deliver(
                        envelope=envelope, message=Spool.from_bytes(CONTENT)
                    )
                    self.assertIsInstance(outcome.error, NoSuchRecipient)
        self.assertEqual(self.files(), [])

    async def test_a_path_without_the_domain(self) -> None:
        self.make("mail/ann/Maildir")
        delivery = self.delivery("mail/%u/Maildir")
        self.assertEqual(await self.deliver(ANN, delivery=delivery), [None])
        # Postmaster has no domain.
        self.make("mail/postmaster/Maildir")
        self.assertEqual(await self.deliver("Postmaster@", delivery=delivery), [None])
        self.assertNotIn(b"Delivered-To", self.read("mail/postmaster"))

    async def test_names_that_are_not_ascii(self) -> None:
        self.make("xn--bcher-kva.example/jürgen")
        self.assertEqual(await self.deliver("JÜRGEN@bücher.example"), [None])

    async def test_made_on_demand(self) -> None:
        delivery = self.delivery("%d/%u/Maildir", create=True)
        await self.check(ANN, delivery)
        self.assertEqual(self.files(), [])
        self.assertEqual(
            await self.deliver(ANN, "ann+x@example.org", delivery=delivery), [None] * 2
        )
        self.assertEqual(len(self.files("example.org/ann/Maildir/new")), 2)
        self.assertEqual(os.listdir(os.path.join(self.root, "example.org")), ["ann"])
        modes = {
            stat.S_IMODE(os.stat(os.path.join(self.root, "example.org/ann", name)).st_mode)
            for name in ("", "Maildir", "Maildir/tmp", "Maildir/new", "Maildir/cur")
        }
        self.assertEqual(modes, {0o700})

    async def test_a_disk_that_is_not_there_bounces_nothing(self) -> None:
        with self.assertRaises(StoreUnavailable):
            await self.check(ANN, self.delivery("disk/%d/%u"))
        self.assertEqual(
            await self.deliver(ANN, delivery=self.delivery("disk/%d/%u")), [StoreUnavailable]
        )

    def test_paths_that_mean_nothing(self) -> None:
        for path in ("/mail/%x", "/mail/%", "mail/%u", "%u", ""):
            self.assertRaises(ValueError, MaildirDelivery, path)
        for path in ("/100%%/%u", "/mail/all"):
            MaildirDelivery(path)


class DurabilityTests(MaildirTestCase):
    """A file that can be seen is whole, and stays."""

    def setUp(self) -> None:
        super().setUp()
        self.make("example.org/ann")
        self.steps: list[str] = []

    def flush(self, failing: str = "", error: int = errno.EIO) -> Callable[[int], None]:
        """Notes what is flushed, and what could be seen at that moment."""

        def flush(descriptor: int) -> None:
            name = os.readlink(f"/proc/self/fd/{descriptor}")
            where = os.path.relpath(name, os.path.join(self.root, "example.org/ann"))
            what = where.partition("/")[0] if "/" in where else f"directory {where}"
            self.steps.append(f"{what}, {len(self.files('example.org/ann/new'))} seen")
            if what == failing:
                raise OSError(error, os.strerror(error))

        return flush

    async def test_the_file_first_and_then_the_directory(self) -> None:
        await self.deliver(ANN, delivery=self.delivery(flush=self.flush()))
        self.assertEqual(self.steps, ["tmp, 0 seen", "directory new, 1 seen"])

    async def test_what_is_not_durable_is_not_there(self) -> None:
        for failing in ("tmp", "directory new"):
            for error, expected in (
                (errno.EIO, StoreUnavailable),
                (errno.ENOSPC, StoreFull),
                (errno.EDQUOT, OverQuota),
            ):
                delivery = self.delivery(flush=self.flush(failing, error))
                self.assertEqual(await self.deliver(ANN, delivery=delivery), [expected])
                self.assertEqual(self.files(), [])

    async def test_a_rename_that_fails(self) -> None:
        with mock.patch("os.rename", side_effect=OSError(errno.EIO, "broken")):
            self.assertEqual(await self.deliver(ANN), [StoreUnavailable])
        self.assertEqual(self.files(), [])

    async def test_the_others_get_it(self) -> None:
        self.make("example.org/bob")
        os.chmod(os.path.join(self.root, "example.org/ann"), 0o755)
        os.rmdir(os.path.join(self.root, "example.org/ann/tmp"))
        self.assertEqual(await self.deliver(ANN, BOB), [StoreUnavailable, None])

    async def test_a_new_maildir_is_durable_as_well(self) -> None:
        flushed: list[str] = []

        def flush(descriptor: int) -> None:
            name = os.readlink(f"/proc/self/fd/{descriptor}")
            flushed.append(os.path.relpath(name, self.root))

        await self.deliver(BOB, delivery=self.delivery(create=True, flush=flush))
        directories = [name for name in flushed if "/tmp/" not in name]
        self.assertEqual(
            directories, ["example.org", *["example.org/bob"] * 3, "example.org/bob/new"]
        )


class MaildirContractTests(DeliveryContract, TestCase):
    """It is a delivery like any other, but that lines end with LF."""

    async def make_delivery(self, accounts: Sequence[str]) -> IMessageDelivery:
        self.root = os.path.abspath(self.mktemp())
        for account in accounts:
            for part in ("tmp", "new", "cur"):
                os.makedirs(os.path.join(self.root, account.partition("@")[0], part))
        return OneDomain(os.path.join(self.root, "%u"))

    async def delivered(self, account: str) -> Sequence[bytes]:
        directory = os.path.join(self.root, account.partition("@")[0], "new")
        contents = []
        for name in sorted(os.listdir(directory)):
            with open(os.path.join(directory, name), "rb") as file:
                contents.append(file.read().replace(b"\n", b"\r\n"))
        return contents


class OneDomain(MaildirDelivery):
    """As a route has it: other domains are refused before."""

    async def check_recipient(self, envelope: Any, recipient: Recipient) -> None:
        if recipient.path.domain.lower() != "example.org":
            raise RelayDenied
        await super().check_recipient(envelope, recipient)
