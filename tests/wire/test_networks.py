"""Sets of network addresses."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.wire.networks import Networks


class NetworksTests(SynchronousTestCase):
    def test_what_is_in_them(self) -> None:
        networks = Networks(["192.0.2.7", "198.51.100.0/24", "2001:db8::/32", "fe80::1"])
        for host in ("192.0.2.7", "198.51.100.1", "2001:db8::9", "fe80::1%eth0"):
            self.assertIn(host, networks)
        # As a socket for both families shows IPv4 clients.
        self.assertIn("::ffff:192.0.2.7", networks)
        for host in ("192.0.2.8", "198.51.101.1", "2001:db9::", "", "unix", "x", None, 7):
            self.assertNotIn(host, networks)

    def test_unix_sockets(self) -> None:
        self.assertIn("", Networks(["UNIX"]))
        self.assertNotIn("127.0.0.1", Networks(["unix"]))
        self.assertNotIn("", Networks(["0.0.0.0/0", "::/0"]))

    def test_a_network_written_with_the_address_of_a_host(self) -> None:
        self.assertIn("192.0.2.200", Networks(["192.0.2.7/24"]))

    def test_an_empty_set(self) -> None:
        self.assertFalse(Networks())
        self.assertTrue(Networks(["unix"]))
        self.assertTrue(Networks(["::1"]))

    def test_what_is_no_network(self) -> None:
        for name in ("", "x", "192.0.2.0/33", "192.0.2", "host.example", "1.2.3.4:25"):
            self.assertIn(repr(name), str(self.assertRaises(ValueError, Networks, [name])))
