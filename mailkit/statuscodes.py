"""Which codes an error has in replies of SMTP and in delivery reports (RFC 3463, RFC 5248)."""

from __future__ import annotations

from collections.abc import Mapping

from mailkit import errors
from mailkit.errors import MailError

#: Reply code and enhanced status code (RFC 3463) of each error. A class that is not here has those
#: of its nearest base.
CODES: Mapping[type[MailError], tuple[int, str]] = {
    errors.MailError: (554, "5.0.0"),
    errors.TemporaryFailure: (451, "4.3.0"),
    # RFC 3463 X.4.3: directory server failure.
    errors.DNSFailure: (451, "4.4.3"),
    errors.DNSTimeout: (451, "4.4.3"),
    errors.StoreUnavailable: (451, "4.3.0"),
    errors.StoreFull: (452, "4.3.1"),
    # The message is good and the store may be repaired: the sender ought to keep it.
    errors.StoreCorrupt: (451, "4.3.0"),
    errors.AuthenticationFailed: (535, "5.7.8"),
    errors.PasswordExpired: (535, "5.7.8"),
    errors.TokenRefused: (535, "5.7.8"),
    errors.AuthorizationFailed: (535, "5.7.8"),
    errors.TokenOfAnother: (535, "5.7.8"),
    # RFC 5248: user account disabled.
    errors.AccountDisabled: (525, "5.7.13"),
    errors.Referral: (554, "5.7.0"),
    errors.PermissionDenied: (550, "5.7.1"),
    errors.ReadOnly: (550, "5.2.1"),
    errors.NoSuchAccount: (550, "5.1.1"),
    errors.AccountExists: (554, "5.3.0"),
    errors.NoSuchMailbox: (550, "5.2.0"),
    errors.MailboxHasChildren: (550, "5.2.0"),
    errors.MailboxExists: (554, "5.3.0"),
    errors.NoSuchQuotaRoot: (554, "5.3.0"),
    errors.EntryTooLarge: (554, "5.3.4"),
    errors.TooManyEntries: (452, "4.5.3"),
    errors.InvalidMailboxName: (553, "5.1.3"),
    errors.MailboxInUse: (450, "4.2.1"),
    errors.NoSuchMessage: (554, "5.3.0"),
    errors.NoSuchRecipient: (550, "5.1.1"),
    errors.DomainAcceptsNoMail: (556, "5.1.10"),
    errors.NoSuchDomain: (550, "5.1.2"),
    errors.SenderAcceptsNoMail: (550, "5.7.27"),
    errors.OwnerChanged: (550, "5.7.17"),
    errors.OwnerUnknown: (550, "5.7.19"),
    errors.DeliveryTimeExpired: (554, "5.4.7"),
    errors.RelayDenied: (550, "5.7.1"),
    errors.SenderRefused: (550, "5.7.1"),
    errors.OverQuota: (552, "5.2.2"),
    errors.MailLoop: (554, "5.4.6"),
    errors.RefusedElsewhere: (554, "5.0.0"),
    errors.MessageTooLarge: (552, "5.3.4"),
    errors.MessageRefused: (554, "5.6.0"),
    # RFC 5321 section 4.5.3.1.10: 452, so that the sender tries the rest again.
    errors.LimitExceeded: (452, "4.5.3"),
    # RFC 4468 section 3.5
    errors.BadURL: (554, "5.6.6"),
    errors.BadCharset: (554, "5.6.0"),
    errors.UnknownTransferEncoding: (554, "5.6.3"),
    errors.BeyondEnd: (554, "5.3.0"),
}


def codes_of(error: MailError) -> tuple[int, str]:
    """The reply code and the enhanced status code that say what an error is."""
    for base in type(error).__mro__:
        if base is MailError and error.temporary:
            break
        codes = CODES.get(base)
        if codes is not None:
            return codes
    return 451, "4.3.0"
