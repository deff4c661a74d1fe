"""Addresses and networks."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.checks.networks import is_reachable, network_of


class NetworkTests(SynchronousTestCase):
    def test_the_network_around_an_address(self) -> None:
        self.assertEqual(network_of("192.0.2.77"), "192.0.2.0/24")
        self.assertEqual(network_of("::ffff:192.0.2.77"), "192.0.2.0/24")
        self.assertEqual(network_of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64")
        self.assertEqual(network_of("192.0.2.77", ipv4_bits=32), "192.0.2.77/32")
        self.assertEqual(network_of(""), "")

    def test_reachable_addresses(self) -> None:
        for address in ("8.8.8.8", "2001:4860:4860::8888", "64:ff9b::808:808"):
            self.assertTrue(is_reachable(address), address)
        for address in ("127.0.0.1", "10.1.2.3", "192.168.1.1", "169.254.1.1", "0.0.0.0", "::1"):
            self.assertFalse(is_reachable(address), address)
        for address in ("224.0.0.1", "fe80::1", "fd00::1", "::ffff:10.0.0.1", "x"):
            self.assertFalse(is_reachable(address), address)
