"""Parts of messages in another form, which the server makes (CONVERT, RFC 5259), for
:class:`~mailkit.imap.client.session.Session`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from mailkit.imap.client.commands import Command, Part, quoted
from mailkit.imap.client.errors import Refused
from mailkit.imap.client.responses import Typed
from mailkit.imap.client.sets import SetLike, format_sets
from mailkit.imap.client.survey import SurveyCommands
from mailkit.imap.client.values import Conversion, Converted

_ITEM = re.compile(
    r"BINARY\[[0-9.]*\](?:<\d+\.\d+>)?"
    r"|(?:BINARY\.SIZE|BODYPARTSTRUCTURE|AVAILABLECONVERSIONS)\[[0-9.]*\]"
    r"|BODY\[(?:[0-9]+(?:\.[0-9]+)*\.)?HEADER\]",
    re.IGNORECASE,
)


class ConvertCommands(SurveyCommands):
    """Commands about parts in another form."""

    async def convert(
        self,
        messages: SetLike,
        media_type: str | None,
        items: str | Iterable[str],
        parameters: Mapping[str, str] | None = None,
    ) -> list[Converted]:
        """Fetch parts in another form.

        :param media_type: ``text/plain``, ...; None for what the server thinks best.
        :param items: ``BINARY[1]``, ``BINARY.SIZE[1]``, ``BODYPARTSTRUCTURE[1]``, ...; of headers
            ``BODY[HEADER]``.
        :param parameters: such as ``{"charset": "utf-8"}``.
        :returns: what has become of each message; what has failed stands in its ``failures``.
        :raises Refused: the server tells of no message.
        :raises NotOffered: the server has no CONVERT.
        :raises ValueError: a set or an item is none.
        """
        selected = self._selected()
        self._need("CONVERT")
        sets, by_uid = format_sets(messages)
        request = _request(media_type, parameters or {})
        names = _items(items)
        found: list[Converted] = []
        for text in sets:
            before = len(found)
            command = Command(
                "UID CONVERT" if by_uid else "CONVERT",
                numbered=not by_uid,
                removes=by_uid,
                answers=frozenset(("CONVERTED",)),
                selected=selected,
                removals=selected.removals,
            )

            def collect(response: Typed, command: Command = command) -> bool:
                if not isinstance(response, Converted) or response.tag != command.tag:
                    return False
                found.append(response)
                return True

            command.collect = collect
            command.add(text).add(*request).add(names)
            try:
                await self._connection.run(command)
            except Refused:
                # Section 6: NO where all conversions have failed, beside the reasons.
                if len(found) == before:
                    raise
        return found

    async def conversions(self, source: str = "*", target: str = "*") -> list[Conversion]:
        """What the server converts (CONVERSIONS).

        :param source: a media type, ``text/*``, or ``*``.
        :param target: the same.
        :raises NotOffered: the server has no CONVERT.
        """
        self._need("CONVERT")
        found: list[Conversion] = []

        def collect(response: Typed) -> bool:
            if isinstance(response, Conversion):
                found.append(response)
                return True
            return False

        answers = frozenset(("CONVERSION",))
        command = Command("CONVERSIONS", answers=answers, collect=collect)
        command.add(quoted(source.encode("utf-8"))).add(quoted(target.encode("utf-8")))
        await self._connection.run(command)
        return found


def _request(media_type: str | None, parameters: Mapping[str, str]) -> list[Part]:
    parts: list[Part] = [b"("]
    parts.append(b"NIL" if media_type is None else quoted(media_type.encode("utf-8")))
    for number, (name, value) in enumerate(parameters.items()):
        parts += [b" " if number else b" (", quoted(name.encode("utf-8")), b" "]
        parts.append(quoted(value.encode("utf-8")))
    return [*parts, b"))" if parameters else b")"]


def _items(items: str | Iterable[str]) -> str:
    names = (items,) if isinstance(items, str) else tuple(items)
    for name in names:
        if _ITEM.fullmatch(name) is None:
            raise ValueError(f"not an item that can be converted: {name!r}")
    if not names:
        raise ValueError("nothing is to be converted")
    return names[0] if len(names) == 1 else f"({' '.join(names)})"
