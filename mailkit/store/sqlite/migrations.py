"""The steps that made the index's tables what they are.

``PRAGMA user_version`` counts the steps of :data:`MIGRATIONS` that a database has seen. A step is
never changed once it was released; a new one is added behind it.
"""

from __future__ import annotations

from collections.abc import Sequence

_STEP_1 = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
INSERT INTO setting VALUES ('uid_validity', 0);

CREATE TABLE domain (name TEXT PRIMARY KEY) WITHOUT ROWID;

CREATE TABLE account (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    password_hash TEXT,
    modseq INTEGER NOT NULL DEFAULT 1
);

CREATE TABLE alias (address TEXT PRIMARY KEY, targets TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE mailbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL REFERENCES account,
    name TEXT NOT NULL,
    uid_validity INTEGER NOT NULL,
    uid_next INTEGER NOT NULL DEFAULT 1,
    highest_modseq INTEGER NOT NULL DEFAULT 1,
    messages INTEGER NOT NULL DEFAULT 0,
    unseen INTEGER NOT NULL DEFAULT 0,
    size INTEGER NOT NULL DEFAULT 0,
    first_recent_uid INTEGER NOT NULL DEFAULT 1,
    forgotten_modseq INTEGER NOT NULL DEFAULT 0,
    special_use TEXT,
    selectable INTEGER NOT NULL DEFAULT 1,
    UNIQUE (account_id, name)
);

CREATE TABLE subscription (
    account_id INTEGER NOT NULL REFERENCES account,
    name TEXT NOT NULL,
    PRIMARY KEY (account_id, name)
) WITHOUT ROWID;

CREATE TABLE keyword_set (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL REFERENCES account,
    keywords TEXT NOT NULL,
    UNIQUE (account_id, keywords)
);

CREATE TABLE message (
    mailbox_id INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    internal_date INTEGER NOT NULL,
    size INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    created_modseq INTEGER NOT NULL,
    body_id INTEGER NOT NULL,
    save_date INTEGER NOT NULL,
    thread_id INTEGER,
    PRIMARY KEY (mailbox_id, uid)
) WITHOUT ROWID;
CREATE INDEX message_changed ON message (mailbox_id, modseq) WHERE modseq > created_modseq;

CREATE TABLE vanished (
    mailbox_id INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    first_uid INTEGER NOT NULL,
    last_uid INTEGER NOT NULL,
    PRIMARY KEY (mailbox_id, modseq, first_uid)
) WITHOUT ROWID;

CREATE TABLE doomed_mailbox (id INTEGER PRIMARY KEY);

CREATE TABLE body (
    id INTEGER PRIMARY KEY,
    segment INTEGER NOT NULL,
    position INTEGER NOT NULL,
    start INTEGER NOT NULL,
    size INTEGER NOT NULL,
    refs INTEGER NOT NULL
);
CREATE INDEX body_dead ON body (id) WHERE refs = 0;

CREATE TABLE segment (
    id INTEGER PRIMARY KEY,
    size INTEGER NOT NULL,
    dead INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE log_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    batch INTEGER NOT NULL,
    first_lsn INTEGER NOT NULL,
    lsn INTEGER NOT NULL,
    segment INTEGER NOT NULL,
    journal INTEGER NOT NULL,
    journal_size INTEGER NOT NULL,
    closed INTEGER NOT NULL
);
INSERT INTO log_state VALUES (1, 0, 1, 1, 0, 0, 0, 1);
"""

# Apart from the message rows, because it is ten times as wide as those.
_STEP_2 = """
CREATE TABLE summary (
    body_id INTEGER PRIMARY KEY,
    envelope BLOB NOT NULL,
    body_structure BLOB NOT NULL,
    header BLOB NOT NULL
);
"""

# NULL as long as nobody has asked for more than the header; SQLite cannot change a constraint.
_STEP_3 = """
ALTER TABLE summary RENAME TO old_summary;
CREATE TABLE summary (
    body_id INTEGER PRIMARY KEY,
    envelope BLOB NOT NULL,
    body_structure BLOB,
    header BLOB NOT NULL
);
INSERT INTO summary SELECT body_id, envelope, body_structure, header FROM old_summary;
DROP TABLE old_summary;
CREATE INDEX summary_unfinished ON summary (body_id) WHERE body_structure IS NULL;
"""

# 0 for no limit, NULL for that of all accounts, which is a setting.
_STEP_4 = """
ALTER TABLE account ADD COLUMN max_octets INTEGER;
ALTER TABLE account ADD COLUMN max_messages INTEGER;
"""

# Addresses, or ``@domain``, as which an account may send besides its own.
_STEP_5 = """
CREATE TABLE delegate (
    account_id INTEGER NOT NULL REFERENCES account,
    address TEXT NOT NULL,
    PRIMARY KEY (account_id, address)
) WITHOUT ROWID;
"""

# Whatever greylisting and the like remember; expires in seconds since the epoch.
_STEP_6 = """
CREATE TABLE kept_value (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    expires INTEGER NOT NULL,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;
CREATE INDEX kept_value_expires ON kept_value (expires);
"""

# Names of capabilities, with blanks between; NULL for none.
_STEP_7 = """
ALTER TABLE account ADD COLUMN imap_without TEXT;
"""

# What is to be sent. A message without body_id is over; next_time is NULL for who does not wait.
_STEP_8 = """
CREATE TABLE queue_message (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    body_id INTEGER,
    skip INTEGER NOT NULL,
    prefix BLOB NOT NULL,
    size INTEGER NOT NULL,
    envelope TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    finished INTEGER
);
CREATE INDEX queue_message_body ON queue_message (body_id) WHERE body_id IS NOT NULL;
CREATE INDEX queue_message_finished ON queue_message (finished) WHERE finished IS NOT NULL;
CREATE TABLE queue_recipient (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id INTEGER NOT NULL,
    domain TEXT NOT NULL,
    recipient TEXT NOT NULL,
    state TEXT NOT NULL,
    next_time INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    warned INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX queue_recipient_message ON queue_recipient (message_id);
CREATE INDEX queue_recipient_due ON queue_recipient (domain, next_time)
    WHERE next_time IS NOT NULL;
CREATE TABLE queue_attempt (
    message_id INTEGER NOT NULL,
    recipient_id INTEGER NOT NULL,
    number INTEGER NOT NULL,
    attempt TEXT NOT NULL,
    PRIMARY KEY (message_id, recipient_id, number)
) WITHOUT ROWID;
CREATE TABLE queue_domain (name TEXT PRIMARY KEY, next_time INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX queue_domain_due ON queue_domain (next_time);
"""

# What messages are sorted and threaded by; made again from the summaries where it is lost.
_STEP_9 = """
CREATE TABLE sort_value (
    body_id INTEGER PRIMARY KEY,
    sent INTEGER,
    is_reply INTEGER NOT NULL,
    subject_id INTEGER NOT NULL,
    ids TEXT NOT NULL,
    subject BLOB NOT NULL,
    sender BLOB NOT NULL,
    recipient BLOB NOT NULL,
    cc BLOB NOT NULL,
    display_from BLOB NOT NULL,
    display_to BLOB NOT NULL
);
"""

# Who may do what in whose mailbox (RFC 4314). An account that is public is seen by all as such.
_STEP_10 = """
CREATE TABLE acl (
    mailbox_id INTEGER NOT NULL,
    identifier TEXT NOT NULL,
    rights TEXT NOT NULL,
    PRIMARY KEY (mailbox_id, identifier)
) WITHOUT ROWID;
CREATE INDEX acl_identifier ON acl (identifier);
ALTER TABLE account ADD COLUMN public INTEGER NOT NULL DEFAULT 0;
"""

# Which conversation a message belongs to that has this key (RFC 8474 THREADID).
_STEP_11 = """
CREATE TABLE thread_key (
    account_id INTEGER NOT NULL,
    key INTEGER NOT NULL,
    thread_id INTEGER NOT NULL,
    PRIMARY KEY (account_id, key)
) WITHOUT ROWID;
"""

# Limits of mailboxes as the others; who may look after other accounts.
_STEP_12 = """
ALTER TABLE account ADD COLUMN max_mailboxes INTEGER;
ALTER TABLE account ADD COLUMN administrator INTEGER NOT NULL DEFAULT 0;
"""

# Entries about mailboxes and the server (RFC 5464). The mailbox is 0 for the server, the account for
# what is shared.
_STEP_13 = """
CREATE TABLE metadata (
    account_id INTEGER NOT NULL,
    mailbox_id INTEGER NOT NULL,
    entry TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (account_id, mailbox_id, entry)
) WITHOUT ROWID;
CREATE INDEX metadata_mailbox ON metadata (mailbox_id);
"""

# What URLs are signed with that let others read parts of messages (RFC 4467).
_STEP_14 = """
CREATE TABLE access_key (
    mailbox_id INTEGER PRIMARY KEY,
    key TEXT NOT NULL
);
"""

# By what queued messages are found, and what keeps them from being queued twice. What happens in the
# queue stays until all listeners have heard of it.
_STEP_15 = """
ALTER TABLE queue_message ADD COLUMN header_id TEXT;
ALTER TABLE queue_message ADD COLUMN submit_key TEXT;
CREATE INDEX queue_message_header_id ON queue_message (header_id) WHERE header_id IS NOT NULL;
CREATE INDEX queue_message_submit_key ON queue_message (submit_key)
    WHERE submit_key IS NOT NULL;
CREATE TABLE queue_event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    recipient_id INTEGER NOT NULL,
    state TEXT NOT NULL,
    attempt TEXT
);
CREATE INDEX queue_event_message ON queue_event (message_id);
CREATE TABLE queue_listener (name TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
"""

# Folded texts of header fields as octets, in which SEARCH looks; NULL where there is no such field.
_STEP_16 = """
CREATE TABLE field_text (
    body_id INTEGER PRIMARY KEY,
    sender BLOB,
    recipient BLOB,
    cc BLOB,
    bcc BLOB,
    subject BLOB,
    message_id BLOB
);
"""

# Where the texts of bodies stand, so that a search need not take messages apart.
_STEP_17 = """
CREATE TABLE text_map (body_id INTEGER PRIMARY KEY, map TEXT NOT NULL);
"""

# How much of an account waits in the queue.
_STEP_18 = """
CREATE INDEX queue_message_account ON queue_message (json_extract(envelope, '$.account'))
    WHERE body_id IS NOT NULL;
"""

# Bodies that are not empty and do not end with CRLF, to which POP3 adds one. Those below the number
# in the setting came before this was noted; maintenance looks at them.
_STEP_19 = """
CREATE TABLE unended_body (body_id INTEGER PRIMARY KEY);
INSERT INTO setting SELECT 'ends_known_from', lsn FROM log_state WHERE lsn > 1;
"""

# By names, so that a repair can save them from a damaged index. For what an account's own password
# is taken; NULL for everything.
_STEP_20 = """
CREATE TABLE app_password (
    account TEXT NOT NULL,
    prefix TEXT NOT NULL,
    digest TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER,
    label TEXT NOT NULL,
    used INTEGER,
    used_from TEXT NOT NULL,
    used_by TEXT NOT NULL,
    PRIMARY KEY (account, prefix)
) WITHOUT ROWID;
ALTER TABLE account ADD COLUMN password_scopes TEXT;
"""

# The second factor of accounts (RFC 6238).
_STEP_21 = """
ALTER TABLE account ADD COLUMN totp_secret TEXT;
ALTER TABLE account ADD COLUMN totp_window INTEGER;
ALTER TABLE account ADD COLUMN totp_step INTEGER;
ALTER TABLE account ADD COLUMN recovery_codes TEXT;
"""

# What SCRAM needs of a password (RFC 5802), beside the hash of the same password.
_STEP_22 = """
CREATE TABLE scram_key (
    mechanism TEXT NOT NULL,
    account TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    salt BLOB NOT NULL,
    iterations INTEGER NOT NULL,
    stored_key BLOB NOT NULL,
    server_key BLOB NOT NULL,
    PRIMARY KEY (mechanism, account)
) WITHOUT ROWID;
"""

# Messages of other servers' maildrops that were taken.
_STEP_23 = """
CREATE TABLE fetched (
    account TEXT NOT NULL,
    source TEXT NOT NULL,
    unique_id TEXT NOT NULL,
    time INTEGER NOT NULL,
    PRIMARY KEY (account, source, unique_id)
) WITHOUT ROWID;
"""

# How POP3 shows an account's mail, as JSON; NULL for the usual way.
_STEP_24 = """
ALTER TABLE account ADD COLUMN maildrop TEXT;
CREATE INDEX account_maildrop ON account (maildrop) WHERE maildrop IS NOT NULL;
"""

# What users say about messages (RFC 5257). The account is 0 for what is shared; a value that was
# removed is NULL, for those who have the mailbox open.
_STEP_25 = """
CREATE TABLE annotation (
    mailbox_id INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    account_id INTEGER NOT NULL,
    entry TEXT NOT NULL,
    value BLOB,
    modseq INTEGER NOT NULL,
    PRIMARY KEY (mailbox_id, uid, account_id, entry)
) WITHOUT ROWID;
CREATE INDEX annotation_changed ON annotation (mailbox_id, modseq);
CREATE INDEX annotation_account ON annotation (account_id, mailbox_id);
"""

# In which mailboxes a message is.
_STEP_26 = """
CREATE INDEX message_body ON message (body_id, mailbox_id);
"""

# The size of the queue is read from this index alone, without a look at each message.
_STEP_27 = """
CREATE INDEX queue_message_size ON queue_message (body_id, size) WHERE body_id IS NOT NULL;
"""

# Second factors: when no wrong code counts any more, in seconds since 1970.
_STEP_28 = """
ALTER TABLE account ADD COLUMN totp_forgotten INTEGER;
"""

# Limits of an account's files; NULL for those of all.
_STEP_29 = """
ALTER TABLE account ADD COLUMN max_file_octets INTEGER;
ALTER TABLE account ADD COLUMN max_files INTEGER;
"""

# What is sorted by addresses apart: nobody waits for it who asks for something else.
_STEP_30 = """
CREATE TABLE thread_value (body_id INTEGER PRIMARY KEY, sent INTEGER,
    subject BLOB NOT NULL, is_reply INTEGER NOT NULL, subject_id INTEGER NOT NULL,
    ids TEXT NOT NULL);
CREATE TABLE sort_address (body_id INTEGER PRIMARY KEY, sender BLOB NOT NULL,
    recipient BLOB NOT NULL, cc BLOB NOT NULL, display_from BLOB NOT NULL,
    display_to BLOB NOT NULL);
INSERT INTO thread_value SELECT body_id, sent, subject, is_reply, subject_id, ids FROM sort_value;
INSERT INTO sort_address
    SELECT body_id, sender, recipient, cc, display_from, display_to FROM sort_value;
DROP TABLE sort_value;
"""

# By what the sender calls a message, where a report says nothing else of it.
_STEP_31 = """
CREATE INDEX queue_message_envid ON queue_message (json_extract(envelope, '$.envid'))
    WHERE json_extract(envelope, '$.envid') IS NOT NULL;
"""

# Which messages have changed: an index of them all took twice the time of a change of flags itself.
_STEP_32 = """
CREATE TABLE changed (
    mailbox_id INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    first_uid INTEGER NOT NULL,
    last_uid INTEGER NOT NULL,
    PRIMARY KEY (mailbox_id, modseq, first_uid)
) WITHOUT ROWID;
INSERT INTO changed SELECT mailbox_id, modseq, uid, uid FROM message WHERE modseq > created_modseq;
DROP INDEX message_changed;
"""

# Tabs, and a letter, are folded otherwise than before; dates are read that were none.
_STEP_33 = (
    "".join(
        f"DELETE FROM field_text WHERE instr({column}, x'09') OR instr({column}, x'C4B1');\n"
        for column in ("sender", "recipient", "cc", "bcc", "subject", "message_id")
    )
    + """
DELETE FROM thread_value WHERE sent IS NULL;
"""
)

# What POP3 calls messages that came before a backup was restored; NULL where none was.
_STEP_34 = """
ALTER TABLE mailbox ADD COLUMN older_validities TEXT;
"""

# What records of the log are told by (see mailkit.store.sqlite.marking), random octets of SQLite's
# generator, which the system's seeds; the segments that are there are without. New heads of segments
# are 20 octets longer, which counts as if it were so of all.
_STEP_35 = """
INSERT INTO setting VALUES ('log_marker', randomblob(16));
INSERT INTO setting SELECT 'log_marked_from', ifnull(max(id), 0) + 1 FROM segment;
UPDATE segment SET dead = dead - 20;
"""

# What tells whether another message of a maildrop has the unique-id of one that was taken; those
# that were taken before are like no other.
_STEP_36 = """
ALTER TABLE fetched ADD COLUMN digest TEXT NOT NULL DEFAULT '';
ALTER TABLE fetched ADD COLUMN gone INTEGER NOT NULL DEFAULT 0;
"""

#: SQL of each step.
MIGRATIONS: Sequence[str] = (
    _STEP_1,
    _STEP_2,
    _STEP_3,
    _STEP_4,
    _STEP_5,
    _STEP_6,
    _STEP_7,
    _STEP_8,
    _STEP_9,
    _STEP_10,
    _STEP_11,
    _STEP_12,
    _STEP_13,
    _STEP_14,
    _STEP_15,
    _STEP_16,
    _STEP_17,
    _STEP_18,
    _STEP_19,
    _STEP_20,
    _STEP_21,
    _STEP_22,
    _STEP_23,
    _STEP_24,
    _STEP_25,
    _STEP_26,
    _STEP_27,
    _STEP_28,
    _STEP_29,
    _STEP_30,
    _STEP_31,
    _STEP_32,
    _STEP_33,
    _STEP_34,
    _STEP_35,
    _STEP_36,
)
#: Tables of what was made of bodies, by their number, and can be made of them again.
DERIVED = ("summary", "thread_value", "sort_address", "field_text", "text_map", "unended_body")

#: Number of the step that brought the marker of the log.
MARKED = MIGRATIONS.index(_STEP_35) + 1
