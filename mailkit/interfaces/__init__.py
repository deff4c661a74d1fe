"""The contracts between protocols, authentication, delivery and stores.

Every method annotated with ``Awaitable`` may be written as ``async def`` or return a Deferred;
callers always ``await`` it and pass arguments **by keyword**, so parameter names are part of the
contract. Methods refuse by raising a subclass of :class:`mailkit.errors.MailError`. Everything is
called on the reactor's thread and must not block it.

Mailboxes speak UIDs and modification sequences. Message sequence numbers exist in the IMAP session
alone. Optional abilities are interfaces of their own, found with ``providedBy``; a protocol takes a
slower path, or does not announce an extension, where one is missing.
"""

from __future__ import annotations

from mailkit.interfaces.access import IAccessControl, IAccessDirectory, IRestrictedMailbox
from mailkit.interfaces.account import (
    ICapabilityMask,
    IMailAccount,
    IMailboxAdmin,
    IObjectIdentifiers,
    IReferringRealm,
    IRemoteMailboxes,
    ISpooling,
    IWatchableAccount,
)
from mailkit.interfaces.annotations import IAnnotatedMailbox, IAnnotatingAccount
from mailkit.interfaces.certificates import ICertificateLogin
from mailkit.interfaces.delivery import (
    IAddressQueries,
    IClosableDelivery,
    IDeliveryAbilities,
    IMessageDelivery,
    IOwnerVerifier,
    IQueueStarter,
    IRecipientVerifier,
    ISenderPolicy,
)
from mailkit.interfaces.directory import (
    IAccountHistory,
    IAdministratorDirectory,
    IDelegateAdmin,
    IDirectory,
    IDirectoryAdmin,
    ILoginDirectory,
    IMaskDirectory,
    IQuotaDirectory,
    IVouchedUser,
)
from mailkit.interfaces.dns import IDNSResolver
from mailkit.interfaces.fetching import IFetchMemory
from mailkit.interfaces.files import (
    ICountedHome,
    IFileHome,
    IFileHomes,
    IFileQuotaDirectory,
    IMountedHome,
    IQuickFile,
    IReadableFile,
    IThreadedFile,
    ITimedHome,
    IWritableFile,
)
from mailkit.interfaces.hook import IMailHook
from mailkit.interfaces.kerberos import IKerberosLogin
from mailkit.interfaces.labels import ILabelledMailbox, ILabellingAccount
from mailkit.interfaces.login_records import ILoginRecords
from mailkit.interfaces.logins import (
    IActingPortal,
    IAnonymousLogin,
    IAppPasswordDirectory,
    IBearerToken,
    ISecondFactorDirectory,
    ISharedSecretLogin,
)
from mailkit.interfaces.mailbox import (
    IBatchReadingMailbox,
    ICopyingMailbox,
    IMailbox,
    IQuietMailbox,
    IReadyFields,
    IReadyMessages,
    IRecentMailbox,
    IReplacingMailbox,
    ISearchableMailbox,
    ISizedMailbox,
    ISortingMailbox,
    ISummarizingMailbox,
    IThreadingMailbox,
    IThreadNamingMailbox,
    IUnendedMessages,
    IVersionedMailbox,
    IViewableMailbox,
    IWatchableMailbox,
    IWritableMailbox,
)
from mailkit.interfaces.maildrop import IMaildropAccount, IMaildropDirectory
from mailkit.interfaces.metadata import IMetadataAccount
from mailkit.interfaces.queue import IPostponingQueue, IQueue, IQueueEvents, IQueueingStore
from mailkit.interfaces.quota import IDeletedCounter, IQuotaAccount, IQuotaAdmin
from mailkit.interfaces.recalling import (
    IRecallingDirectory,
    IRecallingMaildrop,
    IRecallingPortal,
    IRecallingStore,
)
from mailkit.interfaces.scram import IScramDirectory, IScramLogin
from mailkit.interfaces.store import IKeyValueStore, IMailStore, IProcessChannel, IProcessLocks
from mailkit.interfaces.urls import IURLKeys, IURLResolver
from mailkit.interfaces.users import IClosableUserBase, IPasswordVerifier, IUserLookup

__all__ = [
    "IAccessControl",
    "IAccessDirectory",
    "IAccountHistory",
    "IActingPortal",
    "IAddressQueries",
    "IAdministratorDirectory",
    "IAnnotatedMailbox",
    "IAnnotatingAccount",
    "IAnonymousLogin",
    "IAppPasswordDirectory",
    "IBatchReadingMailbox",
    "IBearerToken",
    "ICapabilityMask",
    "ICertificateLogin",
    "IClosableDelivery",
    "IClosableUserBase",
    "ICopyingMailbox",
    "ICountedHome",
    "IDNSResolver",
    "IDelegateAdmin",
    "IDeletedCounter",
    "IDeliveryAbilities",
    "IDirectory",
    "IDirectoryAdmin",
    "IFetchMemory",
    "IFileHome",
    "IFileHomes",
    "IFileQuotaDirectory",
    "IKerberosLogin",
    "IKeyValueStore",
    "ILabelledMailbox",
    "ILabellingAccount",
    "ILoginDirectory",
    "ILoginRecords",
    "IMailAccount",
    "IMailHook",
    "IMailStore",
    "IMailbox",
    "IMailboxAdmin",
    "IMaildropAccount",
    "IMaildropDirectory",
    "IMaskDirectory",
    "IMessageDelivery",
    "IMetadataAccount",
    "IMountedHome",
    "IObjectIdentifiers",
    "IOwnerVerifier",
    "IPasswordVerifier",
    "IPostponingQueue",
    "IProcessChannel",
    "IProcessLocks",
    "IQueue",
    "IQueueEvents",
    "IQueueStarter",
    "IQueueingStore",
    "IQuickFile",
    "IQuietMailbox",
    "IQuotaAccount",
    "IQuotaAdmin",
    "IQuotaDirectory",
    "IReadableFile",
    "IReadyFields",
    "IReadyMessages",
    "IRecallingDirectory",
    "IRecallingMaildrop",
    "IRecallingPortal",
    "IRecallingStore",
    "IRecentMailbox",
    "IRecipientVerifier",
    "IReferringRealm",
    "IRemoteMailboxes",
    "IReplacingMailbox",
    "IRestrictedMailbox",
    "IScramDirectory",
    "IScramLogin",
    "ISearchableMailbox",
    "ISecondFactorDirectory",
    "ISenderPolicy",
    "ISharedSecretLogin",
    "ISizedMailbox",
    "ISortingMailbox",
    "ISpooling",
    "ISummarizingMailbox",
    "IThreadNamingMailbox",
    "IThreadedFile",
    "IThreadingMailbox",
    "ITimedHome",
    "IURLKeys",
    "IURLResolver",
    "IUnendedMessages",
    "IUserLookup",
    "IVersionedMailbox",
    "IViewableMailbox",
    "IVouchedUser",
    "IWatchableAccount",
    "IWatchableMailbox",
    "IWritableFile",
    "IWritableMailbox",
]
