"""What hooks answer cannot be malformed."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.hooks import (
    AddHeader,
    AddRecipient,
    ChangeHeader,
    ChangeSender,
    Defer,
    MailHook,
    Reject,
    RemoveRecipient,
    ReplaceBody,
    Step,
)
from mailkit.interfaces import IMailHook
from mailkit.model import Path
from mailkit.spool import Spool


class RefusalTests(SynchronousTestCase):
    """Reply codes and enhanced status codes fit to each other."""

    def test_codes_that_fit(self) -> None:
        self.assertEqual(Reject("no", 554, "5.7.0").code, 554)
        self.assertEqual(Defer("later", 421, "4.3.2").enhanced, "4.3.2")
        self.assertEqual((Reject().code, Defer().code), (550, 451))

    def test_codes_that_do_not(self) -> None:
        for make, code, enhanced in (
            (Reject, 450, "4.7.1"),
            (Reject, 550, "4.7.1"),
            (Reject, 5500, "5.7.1"),
            (Reject, 550, "5.7"),
            (Reject, 550, "5.7.1\r\n250 OK"),
            (Defer, 550, "5.7.1"),
            (Defer, 250, "2.0.0"),
        ):
            with self.subTest(code=code, enhanced=enhanced):
                self.assertRaises(ValueError, make, "text", code, enhanced)


class HeaderEditTests(SynchronousTestCase):
    """An edit cannot smuggle a second field, or the end of the header, into a message."""

    def test_fields(self) -> None:
        AddHeader("X-Spam", "yes,\r\n\tvery")
        ChangeHeader("Subject", None)
        for name, value in (
            ("", "x"),
            ("Sub ject", "x"),
            ("Sub:ject", "x"),
            ("S\u00fcbject", "x"),
            ("Subject", "x\r\nBcc: y@example.org"),
            ("Subject", "x\r\n\r\nbody"),
            ("Subject", "x\ny"),
            ("Subject", "x\ry"),
            ("Subject", "x\0y"),
            ("Subject", "x\r\n"),
            ("Subject", "\ud800"),
        ):
            with self.subTest(name=name, value=value):
                self.assertRaises(ValueError, AddHeader, name, value)
                self.assertRaises(ValueError, ChangeHeader, name, value)


class OtherEditTests(SynchronousTestCase):
    """What is no edit is told where it is made, and not when a message comes."""

    def test_paths(self) -> None:
        address: Any = "ann@example.org"
        for make in (AddRecipient, RemoveRecipient, ChangeSender):
            self.assertEqual(make(Path("", "")).path, Path("", ""))
            self.assertIn(
                "is no mailkit.model.Path", str(self.assertRaises(TypeError, make, address))
            )

    def test_a_body(self) -> None:
        self.assertEqual(ReplaceBody(Spool.from_bytes(b"x")).content.data, b"x")
        body: Any = b"x"
        self.assertIn("Spool.from_bytes", str(self.assertRaises(TypeError, ReplaceBody, body)))


class ContractTests(SynchronousTestCase):
    """The base class, the steps and the interface name the same methods."""

    def test_steps(self) -> None:
        steps = {step.value for step in Step}
        public = {name: value for name, value in vars(MailHook).items() if name[0] != "_"}
        methods = {name for name, value in public.items() if callable(value)}
        self.assertEqual(steps, methods)
        self.assertEqual(steps, set(IMailHook.names()) - {"name"})
