"""Block lists and allow lists."""

from __future__ import annotations

from typing import Any

from twisted.logger import capturedLogs, formatEvent

from mailkit.checks.dnsbl import DNSList, DNSLists
from mailkit.dns.records import RecordType
from mailkit.errors import DNSTimeout
from mailkit.hooks import Accept, Quarantine
from tests.checks.support import PEER, CheckCase, make_envelope, make_recipient, make_session

ONE, TWO, GOOD, NAMES = "bl.example", "two.example", "white.example", "dbl.example"
REVERSED = "7.100.51.198"


class ListCase(CheckCase):
    def check(self, **settings: Any) -> DNSLists:
        return DNSLists(self.resolver, clock=self.reactor, **settings)

    def list(self, name: str, *answers: str, text: str = "") -> None:
        """Put something on a list."""
        for answer in answers or ("127.0.0.2",):
            self.resolver.add(name, RecordType.A, answer)
        if text:
            self.resolver.add(name, RecordType.TXT, text)


class AddressTests(ListCase):
    def test_nobody_is_on_a_list(self) -> None:
        self.assertIsNone(self.judge(self.check(block=[ONE, TWO])))
        names = [name for name, _ in self.resolver.asked]
        self.assertEqual(names, [f"{REVERSED}.{ONE}", f"{REVERSED}.{TWO}"])

    def test_on_a_list(self) -> None:
        self.list(f"{REVERSED}.{TWO}", text="see\r\nhttps://two.example/")
        answer = self.judge(self.check(block=[ONE, TWO]))
        self.assert_refused(answer, 550, "5.7.1")
        self.assertEqual(
            answer.text,
            f"Mail from [{PEER}] is refused: {PEER} is on the list {TWO}; see https://two.example/",
        )

    def test_ipv6(self) -> None:
        # RFC 5782 section 2.4: nibbles.
        name = f"1.{'0.' * 23}8.b.d.0.1.0.0.2.{ONE}"
        self.list(name)
        answer = self.judge(self.check(block=[ONE]), make_session("2001:db8::1"))
        self.assert_refused(answer, 550, "5.7.1", "2001:db8::1 is on the list")
        never = f"1.0.0.0.0.0.f.7.f.f.f.f.{'0.' * 20}{ONE}"
        self.assertIn((never, RecordType.A), self.resolver.asked)

    def test_ipv4_inside_of_ipv6(self) -> None:
        self.list(f"{REVERSED}.{ONE}")
        answer = self.judge(self.check(block=[ONE]), make_session(f"::ffff:{PEER}"))
        self.assert_refused(answer, 550, "5.7.1", f"{PEER} is on the list")

    def test_answers_that_say_nothing(self) -> None:
        # RFC 5782 section 2.1, and the error codes of big lists.
        for number, answer in enumerate(("192.0.2.1", "127.255.255.254", "127.255.255.252")):
            zone = f"{number}.{ONE}"
            self.list(f"{REVERSED}.{zone}", answer)
            self.assertIsNone(self.judge(self.check(block=[zone])), answer)

    def test_answers_that_are_chosen(self) -> None:
        self.list(f"{REVERSED}.{ONE}", "127.0.0.10", "127.0.0.4")
        for answers, refused in ((["127.0.0.2", "127.0.0.3"], False), (["127.0.0.4/30"], True)):
            said = self.judge(self.check(block=[DNSList(ONE, answers=answers)]))
            self.assertEqual(said is not None, refused, answers)

    def test_a_list_that_has_everything_is_ignored(self) -> None:
        self.list(f"{REVERSED}.{ONE}")
        self.list(f"1.0.0.127.{ONE}")
        self.assertIsNone(self.judge(self.check(block=[ONE])))

    def test_weights(self) -> None:
        lists = [DNSList(ONE, weight=1.0), DNSList(TWO, weight=2.0)]
        self.list(f"{REVERSED}.{ONE}")
        self.assertIsNone(self.judge(self.check(block=lists, threshold=2.0)))
        self.list(f"{REVERSED}.{TWO}")
        answer = self.judge(self.check(block=lists, threshold=3.0))
        # The list that counts most is named.
        self.assert_refused(answer, 550, "5.7.1", f"list {TWO}")

    def test_actions(self) -> None:
        self.list(f"{REVERSED}.{ONE}")
        later = self.judge(self.check(block=[ONE], action="defer"))
        self.assert_refused(later, 451, "4.7.1")
        apart = self.judge(self.check(block=[ONE], action="quarantine", text="{what}: {zone}"))
        self.assertEqual(apart, Quarantine(f"{PEER}: {ONE}"))

    def test_a_text_of_ones_own(self) -> None:
        self.list(f"{REVERSED}.{ONE}", text="theirs")
        session = make_session(client_name="mx.client.example")
        answer = self.judge(
            self.check(block=[ONE], use_txt=False, text="{client}: see {zone}"), session
        )
        self.assertEqual(answer.text, f"mx.client.example [{PEER}]: see {ONE}")
        for text in ("{nobody}", "{", "{0}"):
            self.assertRaises(ValueError, self.check, text=text)

    def test_a_list_that_does_not_answer_counts_nothing(self) -> None:
        self.resolver.trouble[f"{REVERSED}.{ONE}"] = DNSTimeout()
        self.list(f"{REVERSED}.{TWO}")
        self.assert_refused(self.judge(self.check(block=[ONE, TWO])), 550, "5.7.1", TWO)
        self.assertIsNone(self.judge(self.check(block=[ONE])))

    def test_lists_are_asked_while_the_client_is_greeted(self) -> None:
        self.resolver.slow = True
        check, session = self.check(block=[ONE, TWO], timeout=5.0), make_session()
        self.assertIsNone(self.ask(check.connect, session))
        self.assertEqual(len(self.resolver.asked), 2)
        waiting = self.begin(check.rcpt, session, make_envelope(session), make_recipient())
        self.clock.advance(4.9)
        self.assertNoResult(waiting)
        self.clock.advance(0.2)
        self.assertIsNone(self.successResultOf(waiting))


class AllowTests(ListCase):
    def setUp(self) -> None:
        super().setUp()
        self.list(f"{REVERSED}.{ONE}")
        self.list(f"{REVERSED}.{GOOD}")

    def test_a_good_client_is_accepted(self) -> None:
        self.assertEqual(
            self.judge(self.check(block=[ONE], allow=[GOOD])), Accept(f"on the list {GOOD}")
        )

    def test_weights_against_each_other(self) -> None:
        for weight, refused in ((1.0, False), (0.5, True)):
            check = self.check(
                block=[DNSList(ONE, weight=1.2)],
                allow=[DNSList(GOOD, weight=weight)],
                allow_accepts=False,
                threshold=0.7,
            )
            self.assertEqual(self.judge(check) is not None, refused, weight)


class DomainTests(ListCase):
    def said(self, bad: str) -> Any:
        self.list(f"{bad}.{NAMES}")
        session = make_session(helo="Helo.Bad.example", client_name="client.bad.example")
        return self.judge(self.check(block_domains=[NAMES]), session, "a@sender.bad.example")

    def test_each_name(self) -> None:
        for bad in ("helo.bad.example", "client.bad.example", "sender.bad.example"):
            self.assert_refused(self.said(bad), 550, "5.7.1", f"{bad} is on the list {NAMES}")
            self.resolver.records.clear()

    def test_what_is_no_name_is_not_asked_about(self) -> None:
        for helo in (f"[{PEER}]", PEER, "localhost", ""):
            self.judge(self.check(block_domains=[NAMES]), make_session(helo=helo), "")
        self.assertEqual(self.resolver.asked, [])

    def test_a_list_that_has_everything_is_ignored(self) -> None:
        self.list(f"invalid.{NAMES}")
        self.assertIsNone(self.said("sender.bad.example"))


class LogTests(ListCase):
    """What is wrong with a list is told once in a while, not once for each client."""

    def told(self, check: DNSLists, *peers: str) -> list[str]:
        with capturedLogs() as events:
            for peer in peers:
                self.judge(check, make_session(peer))
        return [formatEvent(event) for event in events]

    def test_each_fault_once_an_hour(self) -> None:
        check = self.check(block=[ONE])
        for last in range(1, 4):
            self.resolver.trouble[f"{last}.100.51.198.{ONE}"] = DNSTimeout(f"no answer {last}")
        self.list(f"4.100.51.198.{ONE}", "127.255.255.252")
        peers = [f"198.51.100.{last}" for last in (1, 2, 3, 4)]
        first = [
            f"DNS list {ONE} does not answer (no answer 1)",
            f"DNS list {ONE} answers with an error, see its documentation (127.255.255.252)",
        ]
        self.assertEqual(self.told(check, *peers), first)
        self.assertEqual(self.told(check, *peers), [])
        self.clock.advance(3600)
        self.assertEqual(self.told(check, *peers), first)


class SelfTestTests(ListCase):
    """RFC 5782 section 5: entries that each list has, and that none has."""

    def problems(self) -> list[str]:
        check = self.check(block=[ONE], block_domains=[NAMES])
        return list(self.ask(check.check_lists))

    def test_good_lists(self) -> None:
        self.list(f"2.0.0.127.{ONE}")
        self.list(f"test.{NAMES}")
        self.assertEqual(self.problems(), [])

    def test_bad_lists(self) -> None:
        self.list(f"1.0.0.127.{ONE}")
        self.resolver.trouble[f"test.{NAMES}"] = DNSTimeout("no answer")
        self.assertEqual(
            self.problems(),
            [
                f"{ONE} does not have its test entry 127.0.0.2",
                f"{ONE} has 127.0.0.1, which no list may have",
                f"{NAMES} does not answer: no answer",
            ],
        )
