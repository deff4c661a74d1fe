"""The Sender Rewriting Scheme: what postsrsd makes of the same addresses, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import NoSuchRecipient
from mailkit.model import Path
from mailkit.signing.srs import MAX_PATH, SRS

#: 2026-11-21: ``JK``.
NOW = 20_778 * 86_400 + 5_000
DAY = 86_400

#: What postsrsd 1.10 made of addresses on that day, with ``secret`` and ``-d example.org``.
POSTSRSD = {
    "ann@example.net": "SRS0=+CuP=JK=example.net=ann@example.org",
    "Ann.Smith@Example.COM": "SRS0=827K=JK=Example.COM=Ann.Smith@example.org",
    "SRS0=abcd=ab=example.net=ann@relay.example": (
        "SRS1=GHwp=relay.example==abcd=ab=example.net=ann@example.org"
    ),
    "SRS1=abcd=other.example==xyz=ab=example.net=ann@relay.example": (
        "SRS1=XpaT=other.example==xyz=ab=example.net=ann@example.org"
    ),
}


def path(text: str) -> Path:
    """An address without quotes."""
    return Path(*text.rsplit("@", 1))


class SRSTests(SynchronousTestCase):
    def srs(self, now: float = NOW, *secrets: bytes, **settings: Any) -> SRS:
        return SRS("example.org", secrets or (b"secret",), lambda: now, **settings)

    def refuses(self, address: Path, srs: SRS | None = None) -> None:
        self.assertRaises(NoSuchRecipient, (srs or self.srs()).unwrap, address)

    def test_the_same_as_postsrsd(self) -> None:
        for address, wrapped in POSTSRSD.items():
            self.assertEqual(str(self.srs().wrap(path(address))), wrapped)

    def test_and_back(self) -> None:
        for address, wrapped in POSTSRSD.items():
            found = self.srs().unwrap(path(wrapped))
            if address.startswith("SRS1"):
                address = "SRS0=xyz=ab=example.net=ann@other.example"
            self.assertEqual(str(found), address)

    def test_odd_local_parts(self) -> None:
        for local in ("a=b=c", "a b", "SRS", "SRS0", "SRS0=x", "SRS1=x", "grüße", 'q"'):
            address = Path(local, "example.net")
            wrapped = self.srs().wrap(address)
            self.assertNotEqual(wrapped, address)
            if not local.startswith("SRS0="):
                self.assertEqual(self.srs().unwrap(wrapped), address)

    def test_only_a_local_part_makes_the_address_international(self) -> None:
        # A server without SMTPUTF8 takes this one as ever.
        wrapped = self.srs().wrap(Path("ann", "b\u00fccher.example"))
        self.assertTrue(str(wrapped).isascii(), wrapped)
        self.assertEqual(self.srs().unwrap(wrapped), Path("ann", "xn--bcher-kva.example"))
        again = self.srs().wrap(Path("SRS0=abcd=ab=example.net=ann", "b\u00fccher.example"))
        self.assertTrue(str(again).isascii(), again)

    def test_the_case_may_have_changed(self) -> None:
        for change in str.lower, str.upper:
            wrapped = path(change("SRS0=+CuP=JK=example.net=ann@example.org"))
            self.assertTrue(self.srs().is_wrapped(wrapped))
            self.assertEqual(str(self.srs().unwrap(wrapped)).lower(), "ann@example.net")

    def test_only_ours_are_looked_at(self) -> None:
        for address, ours in (
            ("SRS0=a=b=c=d@EXAMPLE.org", True),
            ("srs1+x@example.org", True),
            ("SRS0=a=b=c=d@example.net", False),
            ("srs0@example.org", False),
            ("srs2=x@example.org", False),
            ("ann@example.org", False),
        ):
            self.assertEqual(self.srs().is_wrapped(path(address)), ours, address)

    def test_strangers_cannot_make_them(self) -> None:
        for address in (
            "SRS0=AAAA=JK=example.net=ann@example.org",
            # Each part counts.
            "SRS0=+CuP=JK=example.net=eve@example.org",
            "SRS0=+CuP=JK=example.com=ann@example.org",
            "SRS0=+CuP=JJ=example.net=ann@example.org",
            "SRS0==JK=example.net=ann@example.org",
            "SRS0=+Cu=JK=example.net=ann@example.org",
            "SRS0=+CuP=JK=example.net@example.org",
            "SRS0=@example.org",
            "SRS1=GHwp=else.example==abcd=ab=example.net=ann@example.org",
            "SRS1=GHwp=relay.example=abcd=ab=example.net=ann@example.org",
            "SRS1=@example.org",
        ):
            self.refuses(path(address))
        self.refuses(path("SRS0=+CuP=JK=example.net=ann@example.org"), self.srs(NOW, b"other"))

    def test_addresses_grow_old(self) -> None:
        wrapped = self.srs().wrap(path("ann@example.net"))
        for days in 0, 1, 21:
            self.srs(NOW + days * DAY).unwrap(wrapped)
        for days in -1, 22, 500, 1023:
            self.refuses(wrapped, self.srs(NOW + days * DAY))
        self.srs(NOW + 2 * DAY, max_days=2).unwrap(wrapped)
        self.refuses(wrapped, self.srs(NOW + 3 * DAY, max_days=2))

    def test_days_go_round(self) -> None:
        last = 1023 * DAY
        wrapped = self.srs(last).wrap(path("ann@example.net"))
        self.assertEqual(str(self.srs(last + 5 * DAY).unwrap(wrapped)), "ann@example.net")
        self.refuses(wrapped, self.srs(last + 22 * DAY))

    def test_old_secrets_are_good_for_what_they_made(self) -> None:
        wrapped = self.srs().wrap(path("ann@example.net"))
        new = self.srs(NOW, b"new", b"secret")
        self.assertEqual(str(new.unwrap(wrapped)), "ann@example.net")
        self.assertNotEqual(new.wrap(path("ann@example.net")), wrapped)

    def test_longer_hashes(self) -> None:
        wrapped = self.srs(hash_length=10).wrap(path("ann@example.net"))
        self.assertTrue(str(wrapped).startswith("SRS0=+CuP"), wrapped)
        self.assertEqual(len(wrapped.local_part.split("=")[1]), 10)
        self.refuses(wrapped)

    def test_what_would_be_too_long_stays(self) -> None:
        address = Path("a" * 64, ".".join(["b" * 60] * 3))
        self.assertEqual(self.srs().wrap(address), address)
        self.assertLessEqual(len(str(self.srs().wrap(Path("a" * 64, "c" * 100)))), MAX_PATH)

    def test_bad_settings(self) -> None:
        for secrets, settings in (
            ((), {}),
            ((b"",), {}),
            ((b"x",), {"hash_length": 3}),
            ((b"x",), {"hash_length": 28}),
            ((b"x",), {"max_days": 0}),
            ((b"x",), {"max_days": 600}),
        ):
            make: Callable[[], Any] = lambda s=secrets, k=settings: SRS("x", s, lambda: 0, **k)  # noqa: E731
            self.assertRaises(ValueError, make)
