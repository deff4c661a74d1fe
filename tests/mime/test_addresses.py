"""Address lists, well-formed, obsolete and broken."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.mime.addresses import (
    MAX_ADDRESS_OCTETS,
    MAX_ADDRESS_TOKENS,
    MAX_ADDRESSES,
    Address,
    parse_addresses,
)

END = Address(None, None, None, None)


def mailbox(name: bytes | None, local: bytes, domain: bytes) -> Address:
    return Address(name, None, local, domain)


def group(name: bytes) -> Address:
    return Address(None, None, name, None)


class AddressCase(SynchronousTestCase):
    def check(self, value: bytes, *addresses: Address) -> None:
        self.assertEqual(parse_addresses(value), list(addresses), value)


class RFC5322AppendixATests(AddressCase):
    def test_a_1_1(self) -> None:
        self.check(
            b"John Doe <jdoe@machine.example>", mailbox(b"John Doe", b"jdoe", b"machine.example")
        )

    def test_a_1_2(self) -> None:
        self.check(
            b'"Joe Q. Public" <john.q.public@example.com>',
            mailbox(b"Joe Q. Public", b"john.q.public", b"example.com"),
        )
        self.check(
            b"Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
            mailbox(b"Mary Smith", b"mary", b"x.test"),
            mailbox(None, b"jdoe", b"example.org"),
            mailbox(b"Who?", b"one", b"y.test"),
        )
        self.check(
            b'<boss@nil.test>, "Giant; \\"Big\\" Box" <sysservices@example.net>',
            mailbox(None, b"boss", b"nil.test"),
            mailbox(b'Giant; "Big" Box', b"sysservices", b"example.net"),
        )

    def test_a_1_3(self) -> None:
        self.check(
            b"A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
            group(b"A Group"),
            mailbox(b"Ed Jones", b"c", b"a.test"),
            mailbox(None, b"joe", b"where.test"),
            mailbox(b"John", b"jdoe", b"one.test"),
            END,
        )
        self.check(b"Undisclosed recipients:;", group(b"Undisclosed recipients"), END)

    def test_a_5(self) -> None:
        self.check(
            b"Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
            mailbox(b"Pete", b"pete", b"silly.test"),
        )
        self.check(
            b"A Group(Some people)     :Chris Jones <c@(Chris's host.)public.example>,"
            b"         joe@example.org,  John <jdoe@one.test> (my dear friend); (the end of the group)",
            group(b"A Group"),
            mailbox(b"Chris Jones", b"c", b"public.example"),
            mailbox(None, b"joe", b"example.org"),
            mailbox(b"John", b"jdoe", b"one.test"),
            END,
        )
        self.check(
            b"(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;",
            group(b"Hidden recipients"),
            END,
        )

    def test_a_6_1(self) -> None:
        self.check(
            b"Joe Q. Public <john.q.public@example.com>",
            mailbox(b"Joe Q. Public", b"john.q.public", b"example.com"),
        )
        self.check(
            b"Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
            Address(b"Mary Smith", b"@node.test", b"mary", b"example.net"),
            mailbox(None, b"jdoe", b"test.example"),
        )

    def test_a_6_3(self) -> None:
        self.check(
            b"John Doe <jdoe@machine(comment).  example>",
            mailbox(b"John Doe", b"jdoe", b"machine.example"),
        )


class FormTests(AddressCase):
    def test_comment_as_name(self) -> None:
        self.check(
            b"joe@example.org (Joe \\(J\\) Doe)", mailbox(b"Joe (J) Doe", b"joe", b"example.org")
        )
        self.check(b"<joe@example.org> (Joe)", mailbox(None, b"joe", b"example.org"))
        self.check(b"a@b.c (A), d@e.f", mailbox(b"A", b"a", b"b.c"), mailbox(None, b"d", b"e.f"))

    def test_quoted_local_part(self) -> None:
        self.check(b'"joe doe"@example.org', mailbox(None, b"joe doe", b"example.org"))
        self.check(b'X <"a\\"b"@example.org>', mailbox(b"X", b'a"b', b"example.org"))
        self.check(b'a."b c".d@example.org', mailbox(None, b"a.b c.d", b"example.org"))

    def test_domain_literal(self) -> None:
        self.check(b"joe@[192.0.2.1]", mailbox(None, b"joe", b"[192.0.2.1]"))
        self.check(b"<joe@[IPv6:2001:db8::1]>", mailbox(None, b"joe", b"[IPv6:2001:db8::1]"))

    def test_route_of_several_hosts(self) -> None:
        self.check(
            b"<@a.test,@b.test:joe@c.test>", Address(None, b"@a.test,@b.test", b"joe", b"c.test")
        )

    def test_names_keep_encoded_words(self) -> None:
        self.check(
            b"=?utf-8?Q?J=C3=A4?= =?utf-8?Q?rn?= <j@x.test>",
            mailbox(b"=?utf-8?Q?J=C3=A4?= =?utf-8?Q?rn?=", b"j", b"x.test"),
        )

    def test_utf8(self) -> None:
        value = "J\xe4rn <j\xe4rn@b\xfccher.test>".encode()
        address = parse_addresses(value)[0]
        self.assertEqual(address.addr_spec, "j\xe4rn@b\xfccher.test")
        self.assertEqual(address.display_name, "J\xe4rn".encode())

    def test_name_of_mixed_words(self) -> None:
        self.check(b'Joe "J. D." Doe <a@b.c>', mailbox(b"Joe J. D. Doe", b"a", b"b.c"))
        self.check(b"Joe\t  Doe <a@b.c>", mailbox(b"Joe Doe", b"a", b"b.c"))

    def test_empty_name(self) -> None:
        self.check(b'"" <a@b.c>', mailbox(None, b"a", b"b.c"))

    def test_group_between_mailboxes(self) -> None:
        self.check(
            b"a@b.c, G: d@e.f;, H:;, g@h.i",
            mailbox(None, b"a", b"b.c"),
            group(b"G"),
            mailbox(None, b"d", b"e.f"),
            END,
            group(b"H"),
            END,
            mailbox(None, b"g", b"h.i"),
        )

    def test_nothing(self) -> None:
        for value in (b"", b" ", b",", b" , ,", b";", b"(comment)", b'"', b">", b":"):
            self.check(value)


class BrokenTests(AddressCase):
    def test_no_domain(self) -> None:
        self.check(b"root", mailbox(None, b"root", b""))
        self.check(b"Joe <root>", mailbox(b"Joe", b"root", b""))
        self.check(b"undisclosed recipients", mailbox(None, b"undisclosed recipients", b""))
        self.check(b"joe@", mailbox(None, b"joe", b""))

    def test_no_local_part(self) -> None:
        self.check(b"<@example.org>", mailbox(None, b"", b"example.org"))
        self.check(b"@example.org", mailbox(None, b"", b"example.org"))
        self.check(b"<>", mailbox(None, b"", b""))

    def test_semicolons_between_addresses(self) -> None:
        self.check(b"a@b.c; d@e.f;", mailbox(None, b"a", b"b.c"), mailbox(None, b"d", b"e.f"))

    def test_unbalanced_quote(self) -> None:
        self.check(b'"Joe <a@b.c>', mailbox(b"Joe", b"a", b"b.c"))
        self.check(
            b'Joe" <a@b.c>, "X" <d@e.f>, Y" <g@h.i>',
            mailbox(b"Joe <a@b.c>, X <d@e.f>, Y", b"g", b"h.i"),
        )

    def test_unbalanced_angle_brackets(self) -> None:
        self.check(b"Joe <a@b.c, d@e.f", mailbox(b"Joe", b"a", b"b.c"), mailbox(None, b"d", b"e.f"))
        self.check(b"a@b.c>, <<d@e.f>>", mailbox(None, b"a", b"b.c"), mailbox(None, b"d", b"e.f"))

    def test_unbalanced_parenthesis(self) -> None:
        self.check(b"Joe (x <a@b.c>", mailbox(b"Joe x", b"a", b"b.c"))
        self.check(b"a@b.c), d@e.f", mailbox(None, b"a", b"b.c"), mailbox(None, b"d", b"e.f"))

    def test_group_that_does_not_end(self) -> None:
        self.check(b"G: a@b.c", group(b"G"), mailbox(None, b"a", b"b.c"), END)

    def test_colon_without_a_group(self) -> None:
        self.check(b"G: H: a@b.c;", group(b"G"), mailbox(b"H", b"a", b"b.c"), END)
        self.check(b"a@b.c:25", mailbox(None, b"a", b"b.c"))

    def test_name_without_angle_brackets(self) -> None:
        self.check(b"Joe Doe a@b.c", mailbox(b"Joe Doe", b"a", b"b.c"))
        self.check(b"<Joe a@b.c>", mailbox(b"Joe", b"a", b"b.c"))

    def test_at_sign_in_a_name(self) -> None:
        self.check(b"joe@home <a@b.c>", mailbox(b"joe@home", b"a", b"b.c"))

    def test_missing_comma(self) -> None:
        self.check(b"A <a@b.c> D <d@e.f>", mailbox(b"A", b"a", b"b.c"), mailbox(b"D", b"d", b"e.f"))

    def test_junk_behind_angle_brackets(self) -> None:
        self.check(
            b"A <a@b.c> junk, d@e.f", mailbox(b"A", b"a", b"b.c"), mailbox(None, b"d", b"e.f")
        )

    def test_several_at_signs(self) -> None:
        self.check(b"a@b@c.d", mailbox(None, b"a@b", b"c.d"))

    def test_mailto(self) -> None:
        self.check(b"<mailto:a@b.c>", mailbox(None, b"a", b"b.c"))

    def test_nul_and_controls(self) -> None:
        self.check(b"a\0@b.c", mailbox(None, b"a", b"b.c"))
        self.check(b"\x01Joe <a@b.c>", mailbox(b"Joe", b"a", b"b.c"))


class AddrSpecTests(SynchronousTestCase):
    def test_quoted_where_it_must_be(self) -> None:
        for value, spec in (
            (b"a.b@c.d", "a.b@c.d"),
            (b'"a b"@c.d', '"a b"@c.d'),
            (b'"a\\"\\\\b"@c.d', '"a\\"\\\\b"@c.d'),
            (b"a@b@c.d", '"a@b"@c.d'),
            (b"root", "root"),
            (b"<>", '""'),
        ):
            self.assertEqual(parse_addresses(value)[0].addr_spec, spec)

    def test_group_ends_have_none(self) -> None:
        start, end = parse_addresses(b"G:;")
        self.assertEqual((start.addr_spec, start.is_mailbox), ("", False))
        self.assertEqual((end.addr_spec, end.is_mailbox), ("", False))

    def test_always_text(self) -> None:
        self.assertEqual(parse_addresses(b"\xff@\xfe")[0].addr_spec, "\ufffd@\ufffd")


class LimitTests(SynchronousTestCase):
    def test_addresses_beyond_the_limit_are_ignored(self) -> None:
        value = b"a@b.c, " * 5
        self.assertEqual(len(parse_addresses(value, 3)), 3)
        self.assertEqual(len(parse_addresses(b"(c)" + value, 3)), 3)
        self.assertEqual(len(parse_addresses(b"G:" + value, 3)), 3)
        self.assertEqual(len(parse_addresses(b"a@b.c," * (MAX_ADDRESSES + 1))), MAX_ADDRESSES)

    def test_octets_beyond_the_limit_are_ignored(self) -> None:
        value = b"x@y.z," + b"a" * (MAX_ADDRESS_OCTETS - 13) + b"@b.cd,"
        self.assertEqual(len(value), MAX_ADDRESS_OCTETS - 1)
        self.assertEqual(len(parse_addresses(value + b"e@f.g")), 2)
        self.assertEqual(parse_addresses(b"aa" + value), [mailbox(None, b"aax", b"y.z")])
        self.assertEqual(parse_addresses(b"a" * MAX_ADDRESS_OCTETS + b"@b.c"), [])

    def test_tokens_beyond_the_limit_are_ignored(self) -> None:
        value = b"G: x@y.z, " + b"a " * MAX_ADDRESS_TOKENS + b", b@c.d"
        self.assertEqual(parse_addresses(value), [group(b"G"), mailbox(None, b"x", b"y.z"), END])
