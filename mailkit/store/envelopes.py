"""Envelopes and attempts as JSON, for stores that keep them in a database.

Fields with their default are left out, so that a field that comes later does no harm to what was
written before.
"""

from __future__ import annotations

import json
from typing import Any

from mailkit.model import (
    ConnectionInfo,
    DeliverBy,
    Envelope,
    HookRecord,
    OriginalRecipient,
    Path,
    Recipient,
    ValidSince,
)
from mailkit.queue.values import Attempt

#: Fields of an envelope that JSON carries as they are.
_PLAIN = (
    "helo",
    "account",
    "transaction_id",
    "quarantine",
    "declared_size",
    "body",
    "smtputf8",
    "ret",
    "envid",
    "require_tls",
    "priority",
    "hold_until",
    "submitter",
    "trusted",
    "date_added",
)


def dump_envelope(envelope: Envelope) -> str:
    """An envelope without its recipients."""
    values = envelope.__dict__
    fields: dict[str, Any] = {
        name: value for name, blank in _BLANK if (value := values[name]) != blank
    }
    fields["connection"] = list(envelope.connection)
    fields["from"] = list(envelope.reverse_path)
    if envelope.parameters:
        fields["parameters"] = dict(envelope.parameters)
    if envelope.deliver_by is not None:
        fields["deliver_by"] = list(envelope.deliver_by)
    if envelope.solicitation:
        fields["solicitation"] = list(envelope.solicitation)
    if envelope.history:
        fields["history"] = [list(record) for record in envelope.history]
    return _dump(fields)


def load_envelope(text: str) -> Envelope:
    """What :func:`dump_envelope` wrote."""
    fields = json.loads(text)
    envelope = Envelope(ConnectionInfo(*fields["connection"]), "", Path(*fields["from"]))
    for name in _PLAIN:
        if name in fields:
            setattr(envelope, name, fields[name])
    envelope.parameters = fields.get("parameters", {})
    if "deliver_by" in fields:
        envelope.deliver_by = DeliverBy(*fields["deliver_by"])
    envelope.solicitation = tuple(fields.get("solicitation", ()))
    envelope.history = [HookRecord(*record) for record in fields.get("history", ())]
    return envelope


def dump_recipient(recipient: Recipient) -> str:
    """One recipient."""
    fields: dict[str, Any] = {"to": list(recipient.path)}
    if recipient.parameters:
        fields["parameters"] = dict(recipient.parameters)
    if recipient.notify is not None:
        fields["notify"] = sorted(recipient.notify)
    if recipient.orcpt is not None:
        fields["orcpt"] = list(recipient.orcpt)
    if recipient.rrvs is not None:
        fields["rrvs"] = list(recipient.rrvs)
    return _dump(fields)


def load_recipient(text: str) -> Recipient:
    """What :func:`dump_recipient` wrote."""
    fields = json.loads(text)
    notify = fields.get("notify")
    return Recipient(
        Path(*fields["to"]),
        fields.get("parameters", {}),
        None if notify is None else frozenset(notify),
        OriginalRecipient(*fields["orcpt"]) if "orcpt" in fields else None,
        ValidSince(*fields["rrvs"]) if "rrvs" in fields else None,
    )


def dump_attempt(attempt: Attempt) -> str:
    """One attempt."""
    fields = zip(Attempt._fields, attempt, strict=True)
    return _dump({name: value for name, value in fields if value})


def load_attempt(text: str) -> Attempt:
    """What :func:`dump_attempt` wrote."""
    return Attempt(**{"time": 0, "seconds": 0.0, **json.loads(text)})


# json.dumps makes one for each call that has separators.
_dump = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode

_EMPTY = Envelope(ConnectionInfo(""), "", Path("", ""))
_BLANK = [(name, getattr(_EMPTY, name)) for name in _PLAIN]
