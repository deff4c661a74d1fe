// What the tests have Thunderbird do; each script of theirs runs below this, in its main process.
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const { setTimeout } = ChromeUtils.importESModule("resource://gre/modules/Timer.sys.mjs");

const account = MailServices.accounts.getAccount("account1");
const root = account.incomingServer.rootFolder;
const inbox = root.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox);

function folder(name) {
  return root.descendants.find((each) => each.localizedName == name || each.name == name);
}

function message(where, subject) {
  return [...where.messages].find((each) => each.mime2DecodedSubject == subject);
}

function subjects(where) {
  return [...where.messages].map((each) => each.mime2DecodedSubject).sort();
}

// Whatever it does goes on by events; the caller gives up when that takes too long.
async function until(found) {
  for (;;) {
    const value = found();
    if (value) {
      return value;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

// The message, once Thunderbird has heard of it.
async function arrival(where, subject) {
  where.updateFolder(null);
  return until(() => message(where, subject));
}

// `start` gets a listener and begins a copy, a move or a removal.
function copied(start) {
  return new Promise((resolve, reject) =>
    start({
      QueryInterface: ChromeUtils.generateQI(["nsIMsgCopyServiceListener"]),
      onStartCopy() {},
      onProgress() {},
      setMessageKey() {},
      getMessageId: () => null,
      onStopCopy: (status) => (status ? reject(new Error(`copy: ${status}`)) : resolve()),
    }),
  );
}

function copy(subject, from, to, move) {
  const headers = [message(from, subject)];
  return copied((listener) =>
    MailServices.copy.copyMessages(from, headers, to, move, listener, null, false),
  );
}

function remove(subject, where) {
  const headers = [message(where, subject)];
  return copied((listener) => where.deleteMessages(headers, null, false, false, listener, false));
}

// The octets, as characters of one octet each.
function source(where, subject) {
  const uri = where.getUriForMsg(message(where, subject));
  return new Promise((resolve) => {
    let text = "";
    const listener = {
      QueryInterface: ChromeUtils.generateQI(["nsIStreamListener"]),
      onStartRequest() {},
      onStopRequest: () => resolve(text),
      onDataAvailable(request, stream, offset, count) {
        const input = Cc["@mozilla.org/binaryinputstream;1"].createInstance(
          Ci.nsIBinaryInputStream,
        );
        input.setInputStream(stream);
        text += input.readBytes(count);
      },
    };
    MailServices.messageServiceFromURI(uri).streamMessage(
      uri, listener, null, null, false, "", false,
    );
  });
}

// The subjects of messages whose body has a text, as the server finds them.
function search(where, text) {
  const session = Cc["@mozilla.org/messenger/searchSession;1"].createInstance(
    Ci.nsIMsgSearchSession,
  );
  session.addScopeTerm(Ci.nsMsgSearchScope.onlineMail, where);
  const term = session.createTerm();
  const value = term.value;
  value.attrib = Ci.nsMsgSearchAttrib.Body;
  value.str = text;
  term.value = value;
  term.attrib = Ci.nsMsgSearchAttrib.Body;
  term.op = Ci.nsMsgSearchOp.Contains;
  session.appendTerm(term);
  const found = [];
  return new Promise((resolve) => {
    session.registerListener({
      QueryInterface: ChromeUtils.generateQI(["nsIMsgSearchNotify"]),
      onNewSearch() {},
      onSearchHit: (header) => found.push(header.mime2DecodedSubject),
      onSearchDone: () => resolve(found.sort()),
    });
    session.search(null);
  });
}

// Fulfilled when the message has been sent, and its copy is in the folder for what was sent.
function send(to, subject, text) {
  const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(
    Ci.nsIMsgCompFields,
  );
  const identity = account.defaultIdentity;
  fields.from = identity.fullAddress;
  fields.to = to;
  fields.subject = subject;
  const sending = Cc["@mozilla.org/messengercompose/send;1"].createInstance(Ci.nsIMsgSend);
  return new Promise((resolve, reject) => {
    const end = (what) => (status) => status && reject(new Error(`${what}: ${status}`));
    const listener = {
      QueryInterface: ChromeUtils.generateQI(["nsIMsgSendListener", "nsIMsgCopyServiceListener"]),
      onStartSending() {},
      onProgress() {},
      onStatus() {},
      onGetDraftFolderURI() {},
      onTransportSecurityError() {},
      onSendNotPerformed: () => reject(new Error("not sent")),
      onStopSending: (id, status) => end("sending")(status),
      onStartCopy() {},
      setMessageKey() {},
      getMessageId: () => null,
      onStopCopy(status) {
        end("copy of what was sent")(status);
        resolve();
      },
    };
    sending.createAndSendMessage(
      null, identity, account.key, fields, false, false, Ci.nsIMsgCompDeliverMode.Now, null,
      "text/plain", text, null, null, listener, null, "", Ci.nsIMsgCompType.New,
    );
  });
}
