"""Domain names as DNS has them."""

from __future__ import annotations

import unicodedata

#: Octets of a domain name and of one of its labels (RFC 1035 section 2.3.4).
MAX_DOMAIN = 253
MAX_LABEL = 63
#: Characters of a name that is normalised: a letter and its marks become one.
MAX_DECOMPOSED = 4 * MAX_DOMAIN


def canonical_domain(domain: str) -> str:
    """Lower case, with A-labels (``xn--``) for whatever is not ASCII; never fails.

    Plain punycode of the normalised label is what IDNA2008 (RFC 5891) makes of every valid label.
    The standard library's codec is IDNA2003, which turns ``ß`` into ``ss``: another domain. Text
    of more than :data:`MAX_DOMAIN` characters is no domain, as A-labels are never shorter than the
    normalised label: it gets escapes in their place, since punycode takes quadratic time.
    """
    if domain.isascii():
        return domain.lower().removesuffix(".")
    if len(domain) > MAX_DECOMPOSED:
        return _escaped(domain.lower())
    domain = unicodedata.normalize("NFKC", domain).lower().replace("\u3002", ".").removesuffix(".")
    if len(domain) > MAX_DOMAIN:  # NFKC makes up to 18 characters of one.
        return _escaped(domain)
    return ".".join(
        label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii")
        for label in domain.split(".")
    )


def _escaped(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode("ascii")


def displayed_domain(domain: str) -> str:
    """A canonical name as people write it: U-labels (RFC 5890 section 2.3.2.1) for A-labels.

    A label that would not come back as it is, or not be seen as it is, stays.
    """
    return ".".join(map(_displayed_label, domain.split("."))) if "xn--" in domain else domain


def _displayed_label(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        shown = label[4:].encode("ascii").decode("punycode")
    except UnicodeError:
        return label
    return shown if shown.isprintable() and canonical_domain(shown) == label else label


def displayed_address(address: str) -> str:
    """A canonical address, or what stands for all of a domain, as people write it."""
    local_part, at, domain = address.rpartition("@")
    return f"{local_part}@{displayed_domain(domain)}" if at else address


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
