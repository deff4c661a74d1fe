"""Texts for people in their language (RFC 2277): languages by RFC 4647, and catalogues of texts.

The English text is its own name. A catalogue, ``translations/TAG.json``, maps it to the text in
another language; ``{}`` stands for what differs from case to case, as in ``{} completed``. What is
not in it stays English, as do IMAP's texts about wrong syntax, which are for programmers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.resources import files

#: RFC 2277 section 4.5: what everybody gets who has not asked for a language, in ASCII.
DEFAULT_LANGUAGE = "i-default"
#: Tags of all languages that there are, with what those who speak them call them.
LANGUAGES: Mapping[str, str] = {
    "en": "English",
    "de": "Deutsch",
    "ru": "Русский",
    DEFAULT_LANGUAGE: "English",
}

#: Those whose texts are the names of texts.
_ENGLISH = frozenset((DEFAULT_LANGUAGE, "en"))
#: Characters of a text that is looked up as one that has something filled in.
MAX_TEXT = 1000

# RFC 4647 section 2.1: language-range.
_is_range = re.compile(r"(?:[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*|\*)").fullmatch
_BY_TAG = {tag.lower(): tag for tag in LANGUAGES}


def is_language_range(text: str) -> bool:
    """Whether it has the form of a language range: ``de-AT`` or ``*`` (RFC 4647 section 2.1)."""
    return _is_range(text) is not None


def find_language(ranges: Iterable[str], preferred: str = "en") -> str | None:
    """The tag of the language that fits the first of the ranges that any fits (RFC 4647 section 3.4).

    :param preferred: what ``*`` stands for.
    """
    for wanted in ranges:
        if wanted == "*":
            return preferred
        subtags = wanted.lower().split("-")
        while subtags:
            tag = _BY_TAG.get("-".join(subtags))
            if tag is not None:
                return tag
            subtags.pop()
            # A single letter or digit only introduces what followed it.
            if len(subtags) > 1 and len(subtags[-1]) == 1:
                subtags.pop()
    return None


def checked_language(tag: str) -> str:
    """The tag of a language that there is, in its usual letters.

    :raises ValueError: there is none.
    """
    if tag.lower() not in _BY_TAG:
        raise ValueError(f"there is no language {tag}; known are {', '.join(sorted(LANGUAGES))}")
    return _BY_TAG[tag.lower()]


def read_catalogue(tag: str) -> dict[str, str]:
    """English texts with what they are in another language."""
    path = files("mailkit") / "translations" / f"{tag}.json"
    catalogue: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return catalogue


class _Catalogue:
    """Made ready for looking texts up."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = {text: other for text, other in texts.items() if "{}" not in text}
        # What has the most letters of its own comes before what fits many texts.
        patterns = sorted((text for text in texts if "{}" in text), key=len, reverse=True)
        self._patterns = [
            (re.compile("(.+?)".join(map(re.escape, text.split("{}"))), re.DOTALL), texts[text])
            for text in patterns
        ]

    def find(self, text: str) -> str:
        other = self._texts.get(text)
        if other is not None:
            return other
        if len(text) <= MAX_TEXT:
            for pattern, template in self._patterns:
                found = pattern.fullmatch(text)
                if found is not None:
                    return template.format(*found.groups())
        return text


@lru_cache(maxsize=len(LANGUAGES))
def _catalogue(tag: str) -> _Catalogue:
    # Some KiB that are read once for each language.
    return _Catalogue(read_catalogue(tag))


def translate(text: str, tag: str) -> str:
    """A text in a language, as far as it is known there.

    :param tag: one of :data:`LANGUAGES`.
    """
    return text if tag in _ENGLISH else _catalogue(tag).find(text)
