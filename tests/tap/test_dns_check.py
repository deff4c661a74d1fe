"""``mailkit dns-check``: what is found, in words, by a resolver that knows what a test tells it."""

from __future__ import annotations

import json
import os
from typing import Any
from unittest import mock

from click.testing import CliRunner, Result
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailkit._typing import override
from mailkit.dns.records import MX, TLSA, RecordType
from mailkit.errors import DNSTimeout
from mailkit.queue.sts import PolicyFetcher, STSPolicyUnavailable
from mailkit.signing.keys import Algorithm, KeyDirectory, KeyState
from mailkit.tap.command import main
from mailkit.tap.dns_check import DomainCheck, Finding, KnownKey, Level, check_domain
from mailkit.tap.dns_check_spf import judge_spf
from mailkit.tap.signing import key_directory
from tests.dns.fakes import FakeResolver
from tests.signing.support import NOW, key

DOMAIN, HOST = "example.org", "mx.example.org"
FOUR, SIX = "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
GOOD: dict[str, str] = {
    DOMAIN: "v=spf1 mx -all",
    f"_dmarc.{DOMAIN}": "v=DMARC1; p=reject; rua=mailto:postmaster@example.org",
    f"_mta-sts.{DOMAIN}": "v=STSv1; id=20261121",
    f"_smtp._tls.{DOMAIN}": "v=TLSRPTv1; rua=mailto:postmaster@example.org",
}


def good_world() -> FakeResolver:
    """A domain with which all is well."""
    resolver = FakeResolver(
        addresses={HOST: [FOUR, SIX]},
        names={FOUR: [HOST], SIX: [HOST]},
        exchangers={DOMAIN: [(10, HOST)]},
        texts={name: [text] for name, text in GOOD.items()} | {key().name: [key().record]},
    )
    resolver.add(f"_25._tcp.{HOST}", RecordType.TLSA, TLSA(3, 1, 1, b"x" * 32))
    resolver.secure.add(f"_25._tcp.{HOST}")
    return resolver


class Fetcher(PolicyFetcher):
    """Has one policy, or none."""

    def __init__(self, mode: str = "enforce", mx: str = HOST) -> None:
        self.octets = f"version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: 604800\n".encode()

    @override
    async def fetch(self, domain: str) -> bytes:
        if not self.octets:
            raise STSPolicyUnavailable("404")
        return self.octets


class CheckTests(SynchronousTestCase):
    def check(self, resolver: FakeResolver, **settings: Any) -> list[Finding]:
        settings.setdefault("keys", [KnownKey(key(), KeyState.ACTIVE)])
        settings.setdefault("fetcher", Fetcher())
        check = DomainCheck(resolver, settings.pop("domain", DOMAIN), **settings)
        work = check_domain(check)
        return list(self.successResultOf(Deferred.fromCoroutine(work)))

    def test_records_obey_no_terminal(self) -> None:
        # The domain may be anybody's, and its records any octets.
        resolver = good_world()
        resolver.records[DOMAIN, RecordType.TXT] = ["v=spf1 mx -all x=\x1b[2J\udcff"]
        found = self.check(resolver)
        self.assertIn("the record is v=spf1 mx -all x=?[2J?", [each.text for each in found])

    def finds(self, resolver: FakeResolver, level: Level, topic: str, text: str, **s: Any) -> None:
        """There is a finding with that text, and nothing worse in its topic."""
        found = [each for each in self.check(resolver, **s) if each.topic == topic]
        self.assertTrue(any(each.level is level and text in each.text for each in found), found)

    def change(self, name: str, *texts: str) -> FakeResolver:
        """A good world with other texts at one name."""
        resolver = good_world()
        resolver.records[name, RecordType.TXT] = list(texts)
        return resolver

    def test_all_is_well(self) -> None:
        found = self.check(good_world())
        self.assertEqual([each for each in found if each.level is not Level.OK], [])
        topics = ["MX", "host", "PTR", "SPF", "DKIM", "DMARC", "MTA-STS", "TLSA", "TLSRPT"]
        self.assertEqual(list(dict.fromkeys(each.topic for each in found)), topics)

    def test_a_domain_that_does_not_exist(self) -> None:
        self.finds(FakeResolver(), Level.ERROR, "MX", "does not exist", domain="nowhere.example")

    def test_exchangers(self) -> None:
        resolver = good_world()
        resolver.records[DOMAIN, RecordType.MX] = [MX(0, "")]
        self.finds(resolver, Level.ERROR, "MX", "null MX")
        resolver.records[DOMAIN, RecordType.MX] = [MX(0, ""), MX(5, HOST)]
        self.finds(resolver, Level.ERROR, "MX", "stands beside others")
        resolver.records[DOMAIN, RecordType.MX] = []
        self.finds(resolver, Level.WARNING, "MX", f"{DOMAIN}. IN MX 10")
        resolver.records[DOMAIN, RecordType.MX] = [MX(5, "gone.example.org")]
        self.finds(resolver, Level.ERROR, "MX", "gone.example.org has no address")
        resolver = good_world()
        resolver.add(HOST, RecordType.CNAME, "real.example.org")
        self.finds(resolver, Level.ERROR, "MX", "is an alias")
        other = {"host": "out.example.org"}
        self.finds(good_world(), Level.WARNING, "MX", "does not come there", **other)
        self.finds(good_world(), Level.ERROR, "host", "has no address", **other)

    def test_addresses(self) -> None:
        resolver = good_world()
        del resolver.records[HOST, RecordType.AAAA]
        self.finds(resolver, Level.WARNING, "host", "no IPv6 address")

    def test_names_of_addresses(self) -> None:
        resolver = good_world()
        reverse = next(name for name, type in resolver.records if name.endswith(".in-addr.arpa"))
        for names, level, text in (
            ([], Level.ERROR, "has no name (PTR)"),
            (["lie.example.org"], Level.ERROR, "does not lead back"),
            (["other.example.org"], Level.WARNING, "is called other.example.org, and not"),
            (["lie.example.org", HOST], Level.OK, f"is called {HOST}"),
        ):
            resolver.add("other.example.org", RecordType.A, FOUR)
            resolver.records[reverse, RecordType.PTR] = list(names)
            self.finds(resolver, level, "PTR", text)
        local = FakeResolver(addresses={HOST: ["192.168.1.1"]}, exchangers={DOMAIN: [(1, HOST)]})
        self.finds(local, Level.WARNING, "PTR", "not an address of the internet")

    def test_spf(self) -> None:
        for texts, level, text in (
            ((), Level.ERROR, 'no record. Publish: example.org. IN TXT "v=spf1 mx -all"'),
            (("v=spf10 mx",), Level.ERROR, "no record"),
            (("v=spf1 mx", "v=spf1 a"), Level.ERROR, "2 records, of which none counts"),
            (("v=spf1 ip4:192.0.2.1 -all",), Level.ERROR, f"does not allow {FOUR} (fail)"),
            (("v=spf1 ip4:192.0.2.1 ~all",), Level.ERROR, "(softfail)"),
            (("v=spf1 exists:%{i}.x -all",), Level.WARNING, "cannot be judged"),
            (("v=spf1 nonsense -all",), Level.ERROR, "damaged"),
            (("v=spf1 +all",), Level.ERROR, "the whole world"),
        ):
            self.finds(self.change(DOMAIN, *texts), level, "SPF", text)

    def test_keys(self) -> None:
        name = key().name
        for texts, level, text in (
            ((), Level.ERROR, "is not published, and signs"),
            ((key().record, "v=DKIM1; p="), Level.ERROR, "has 2 records"),
            ((key("example.net").record,), Level.ERROR, "is another key than ours"),
            ((key().record + "; t=y",), Level.WARNING, "a test"),
            ((key().record.replace("; ", " ;  "),), Level.OK, "is published"),
        ):
            self.finds(self.change(name, *texts), level, "DKIM", text)
        self.finds(good_world(), Level.WARNING, "DKIM", "mailkit dkim generate", keys=[])
        old = [KnownKey(key(selector="old"), KeyState.RETIRED)]
        self.finds(good_world(), Level.OK, "DKIM", "published no more", keys=old)

    def test_dmarc(self) -> None:
        name = f"_dmarc.{DOMAIN}"
        for texts, level, text in (
            ((), Level.ERROR, "no record. Publish"),
            (("v=DMARC1; p=none; rua=x",), Level.WARNING, "p=none"),
            (("v=DMARC1; p=maybe; rua=x",), Level.ERROR, "the policy of"),
            (("v=DMARC1; p=reject",), Level.WARNING, "names nobody"),
            (("v=DMARC1; p=reject", "v=DMARC1; p=none"), Level.ERROR, "2 records"),
        ):
            self.finds(self.change(name, *texts), level, "DMARC", text)
        resolver = self.change(name, "v=DMARC1; p=reject; sp=none; rua=x")
        self.finds(resolver, Level.WARNING, "DMARC", "p=none", domain="news.example.org")

    def test_transport_security(self) -> None:
        sts = f"_mta-sts.{DOMAIN}"
        for texts, level, text in (
            ((), Level.WARNING, "no record"),
            (("v=STSv1; id=",), Level.ERROR, "must have one record"),
            (("v=STSv1; id=1", "v=STSv1; id=2"), Level.ERROR, "must have one record"),
        ):
            self.finds(self.change(sts, *texts), level, "MTA-STS", text)
        silent, damaged = Fetcher(), Fetcher(mode="maybe")
        silent.octets = b""
        for fetcher, level, text in (
            (silent, Level.ERROR, "cannot be fetched: 404"),
            (damaged, Level.ERROR, "is damaged: the mode is not"),
            (Fetcher(mx="*.example.net"), Level.ERROR, f"does not name {HOST}"),
            (Fetcher("testing"), Level.WARNING, "mode: testing"),
            (Fetcher("none"), Level.WARNING, "protects nothing"),
            (Fetcher(mx="*.example.org"), Level.OK, "mode: enforce, and names all"),
        ):
            self.finds(good_world(), level, "MTA-STS", text, fetcher=fetcher)
        tls = f"_smtp._tls.{DOMAIN}"
        self.finds(self.change(tls), Level.WARNING, "TLSRPT", "Publish: _smtp._tls")
        self.finds(self.change(tls, "v=TLSRPTv1; rua=x"), Level.ERROR, "TLSRPT", "must have")
        name = f"_25._tcp.{HOST}"
        resolver = good_world()
        resolver.secure.clear()
        self.finds(resolver, Level.WARNING, "TLSA", "not proved by DNSSEC")
        resolver = good_world()
        resolver.records[name, RecordType.TLSA] = [TLSA(1, 1, 1, b"x" * 32)]
        self.finds(resolver, Level.ERROR, "TLSA", "usage 2 or 3")
        del resolver.records[name, RecordType.TLSA]
        self.finds(resolver, Level.WARNING, "TLSA", "no record")

    def test_name_servers_that_are_silent(self) -> None:
        resolver = good_world()
        resolver.trouble[f"_dmarc.{DOMAIN}"] = DNSTimeout("nobody answers")
        self.finds(resolver, Level.ERROR, "DMARC", "cannot be judged: nobody answers")
        self.finds(resolver, Level.OK, "SPF", "it allows")


class SPFTests(SynchronousTestCase):
    def judge(self, record: str, address: str = FOUR, **texts: str) -> str:
        resolver = FakeResolver(
            addresses={HOST: [FOUR, SIX], DOMAIN: ["192.0.2.1"]},
            exchangers={DOMAIN: [(1, HOST)], "mail.example": [(1, HOST)]},
            texts={f"{name}.example": [text] for name, text in texts.items()},
        )
        work = judge_spf(resolver, DOMAIN, f"v=spf1 {record}", address)
        found: str = self.successResultOf(Deferred.fromCoroutine(work))
        return found

    def test_mechanisms(self) -> None:
        for record, result in (
            ("-all", "fail"),
            ("?all", "neutral"),
            ("", "neutral"),
            ("mx", "pass"),
            ("-mx +all", "fail"),
            ("a -all", "fail"),
            ("a:mx.example.org", "pass"),
            ("mx:mail.example/24//64", "pass"),
            ("a:mx.example.org/16", "pass"),
            (f"ip4:{FOUR}", "pass"),
            ("ip4:93.184.0.0/16", "pass"),
            (f"ip6:{SIX} -all", "fail"),
            ("ip4:x", "permerror"),
            ("a:", "permerror"),
            ("exp=x.example -all", "fail"),
            ("a:%{d}", "unknown"),
            ("ptr", "unknown"),
        ):
            self.assertEqual(self.judge(record), result, record)
        self.assertEqual(self.judge("a/24", "192.0.2.200"), "pass")
        self.assertEqual(self.judge("a:mx.example.org//64 -all", SIX[:-4] + "1"), "pass")
        self.assertEqual(self.judge(f"ip6:{SIX}", SIX), "pass")

    def test_other_records(self) -> None:
        self.assertEqual(self.judge("include:x.example -all", x="v=spf1 mx:mail.example"), "pass")
        self.assertEqual(self.judge("include:x.example -all", x="v=spf1 -all"), "fail")
        self.assertEqual(self.judge("redirect=x.example", x="v=spf1 mx:mail.example"), "pass")
        self.assertEqual(self.judge("include:gone.example -all"), "permerror")

    def test_loops_end(self) -> None:
        self.assertEqual(self.judge("include:x.example", x="v=spf1 include:x.example"), "permerror")
        self.assertEqual(
            self.judge("redirect=x.example", x="v=spf1 redirect=x.example"), "permerror"
        )


class CommandTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = os.path.abspath(self.mktemp())
        self.store = f"sqlite:{self.directory}"
        self.resolver = good_world()

    def run_command(self, *arguments: str) -> Result:
        module = "mailkit.tap.dns_command"
        with (
            mock.patch(f"{module}.make_resolver", lambda servers: self.resolver),
            mock.patch(f"{module}.make_fetcher", lambda resolver: Fetcher()),
        ):
            return CliRunner().invoke(main, ["--store", self.store, "dns-check", *arguments])

    def test_without_a_store_only_a_warning(self) -> None:
        result = self.run_command(DOMAIN)
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertIn("DKIM     warning  mail is not signed here", result.output)
        self.assertFalse(os.path.exists(self.directory))

    def test_keys_of_the_store(self) -> None:
        KeyDirectory(key_directory(self.directory)).add(
            [key(), key(selector="new", algorithm=Algorithm.ED25519)], NOW
        )
        result = self.run_command(DOMAIN)
        self.assertEqual(result.exit_code, 1, result.output)
        self.assertIn("new._domainkey.example.org is not published", result.output)
        self.assertIn("r._domainkey.example.org is published", result.output)

    def test_for_programs(self) -> None:
        self.resolver.records[DOMAIN, RecordType.MX] = [MX(0, "")]
        result = self.run_command(DOMAIN, "--json", "--host", HOST)
        self.assertEqual(result.exit_code, 1)
        found = json.loads(result.output)
        self.assertEqual((found["domain"], found["ok"]), (DOMAIN, False))
        self.assertEqual(found["findings"][0]["topic"], "MX")
        self.assertEqual(found["findings"][0]["level"], "error")

    def test_what_is_no_domain(self) -> None:
        self.assertIn("Not a domain", self.run_command("a b").output)
        arguments = ["dns-check", DOMAIN, "--nameserver", "x"]
        result = CliRunner().invoke(main, arguments)
        self.assertEqual(result.exit_code, 2)
        self.assertIn("--nameserver", result.output)
