"""Domain names as DNS has them."""

from __future__ import annotations

import unicodedata

#: Octets of a domain name and of one of its labels (RFC 1035 section 2.3.4).
MAX_DOMAIN = 253
MAX_LABEL = 63


def canonical_domain(domain: str) -> str:
    """Lower case, with A-labels (``xn--``) for whatever is not ASCII; never fails.

    Plain punycode of the normalised label is what IDNA2008 (RFC 5891) makes of every valid label.
    The standard library's codec is IDNA2003, which turns ``ß`` into ``ss``: another domain.
    """
    if domain.isascii():
        return domain.lower().removesuffix(".")
    domain = unicodedata.normalize("NFKC", domain).lower().replace("\u3002", ".").removesuffix(".")
    return ".".join(
        label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii")
        for label in domain.split(".")
    )


def is_within(name: str, domain: str, subdomains: bool = True) -> bool:
    """Whether a canonical name is that of a domain, or of a subdomain.

    :param domain: canonical too; every name is within nothing.
    :param subdomains: whether these count.
    """
    return not domain or name == domain or (subdomains and name.endswith(f".{domain}"))


def is_dns_name(name: str) -> bool:
    """Whether a canonical name can stand in a question: labels and name have a length that fits."""
    return len(name) <= MAX_DOMAIN and all(
        1 <= len(label) <= MAX_LABEL and label.isprintable() and " " not in label
        for label in name.split(".")
    )
