"""Real clients: mbsync, OfflineIMAP, mutt, curl, and ImapFlow; and the commands that Roundcube sends, as a transcript."""
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from imapmessages import MULTI, SIMPLE, numbered

ALICE, BOB = "alice@example.com", "bob@example.com"
NODE = pathlib.Path("/usr/local/lib/postern-tests/node_modules")


def run(argv, **kw):
    p = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=60, **kw)
    out = p.stdout.decode("utf-8", "replace")
    assert p.returncode == 0, "%s\n%s" % (argv, out)
    return out


def need(program):
    path = shutil.which(program)
    assert path, "%s is missing: t/deps check installs it" % program
    return path


def place(suite):
    return suite.hosts[0].strip("[]"), str(suite.port("IMAP")), str(suite.port("IMAPS"))


def messages(path):
    return sorted(p.read_bytes() for d in ("cur", "new") for p in (path / d).iterdir())


def bare(messages):
    """Without the header that mbsync gives what it copies."""
    return sorted(re.sub(rb"X-TUID: [^\n]*\n", b"", m) for m in messages)


def lf(m):
    return m.replace(b"\r\n", b"\n")


# --- mbsync ---

def test_mbsync(suite, imap, folder, tmp_path):
    host, port, _ = place(suite)
    c = imap()
    for i in range(1, 6):
        c.append(folder, numbered(i), "(\\Seen) " if i == 2 else "")
    rc = tmp_path / "mbsyncrc"
    rc.write_text("IMAPAccount a\nHost %s\nPort %s\nUser %s\nPass %s\nSSLType None\nAuthMechs LOGIN\n\nIMAPStore far\nAccount a\n\nMaildirStore near\nPath %s/\nInbox %s/inbox\n"
                  "SubFolders Verbatim\n\nChannel c\nFar :far:%s\nNear :near:box\nCreate Near\nExpunge Both\nSyncState *\nSync All\n"
                  % (host, port, ALICE, suite.passwords[ALICE], tmp_path, tmp_path, folder))
    sync = lambda: run([need("mbsync"), "-c", rc, "-a"], env=dict(os.environ, HOME=str(tmp_path)))
    sync()
    box = tmp_path / "box"
    assert bare(messages(box)) == sorted(lf(numbered(i)) for i in range(1, 6))
    assert len([p for p in (box / "cur").iterdir() if p.name.endswith("S")]) == 1
    # changes both ways
    c.ok("SELECT " + folder)
    c.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    c.ok("EXPUNGE")
    c.ok("STORE 2 +FLAGS (\\Flagged)")
    c.append(folder, MULTI)
    mine = box / "new" / "1.mine"
    mine.write_bytes(lf(SIMPLE))
    gone = [p for d in ("cur", "new") for p in (box / d).iterdir() if b"message 5\n" in p.read_bytes()][0]
    flags = gone.name.split(":2,")[1] if ":2," in gone.name else ""
    gone.rename(box / "cur" / (gone.name.split(":2,")[0] + ":2,T" + flags if ":2," in gone.name else gone.name + ":2,T"))
    sync()
    assert bare(messages(box)) == sorted(lf(m) for m in (numbered(2), numbered(3), numbered(4), MULTI, SIMPLE))
    c.ok("NOOP")
    # mbsync marks what it uploads with a header of its own while it waits for the UID
    subjects = re.findall(rb"Subject: [^\r]*", b"".join(c.ok("FETCH 1:* BODY.PEEK[HEADER.FIELDS (Subject)]")))
    assert sorted(subjects) == sorted([b"Subject: message 2", b"Subject: message 3", b"Subject: message 4", b"Subject: simple",
                                       b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= from Ann"])


# --- OfflineIMAP ---

def test_offlineimap(suite, imap, folder, tmp_path):
    host, port, _ = place(suite)
    c = imap()
    for i in range(1, 4):
        c.append(folder, numbered(i))
    rc = tmp_path / "offlineimaprc"
    rc.write_text("[general]\naccounts = a\nmetadata = %s/meta\nmaxsyncaccounts = 1\n[Account a]\nlocalrepository = l\nremoterepository = r\n[Repository l]\ntype = Maildir\n"
                  "localfolders = %s/mail\n[Repository r]\ntype = IMAP\nremotehost = %s\nremoteport = %s\nremoteuser = %s\nremotepass = %s\nssl = no\nstarttls = no\n"
                  "auth_mechanisms = PLAIN\nfolderfilter = lambda f: f == '%s'\n" % (tmp_path, tmp_path, host, port, ALICE, suite.passwords[ALICE], folder))
    sync = lambda: run([need("offlineimap"), "-o", "-c", rc, "-u", "basic"], env=dict(os.environ, HOME=str(tmp_path)))
    sync()
    box = tmp_path / "mail" / folder
    assert len(messages(box)) == 3
    c.ok("SELECT " + folder)
    c.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    c.ok("EXPUNGE")
    c.append(folder, SIMPLE)
    (box / "new" / "1.mine.host").write_bytes(lf(MULTI))
    sync()
    assert len(messages(box)) == 4
    c.ok("NOOP")
    assert len(c.ok("FETCH 1:* (UID)")) == 4


# --- mutt ---

def test_mutt(suite, imap, folder, tmp_path):
    c = imap()
    c.append(folder, SIMPLE)
    c.append(folder, MULTI)
    rc = tmp_path / "muttrc"
    rc.write_text("set imap_user=%s\nset imap_pass=%s\nset ssl_ca_certificates_file=%s\nset certificate_file=%s\nset header_cache=\nset record=\nset quit=yes\nset delete=yes\n"
                  "set move=no\nset wait_key=no\nset sort=mailbox-order\npush \"<tag-pattern>~s simple<enter><tag-prefix><delete-message><sync-mailbox><quit>\"\n"
                  % (ALICE, suite.passwords[ALICE], suite.ca, suite.ca))
    need("mutt")
    # mutt wants a terminal: script(1) gives one
    run([need("script"), "-qec", "mutt -n -F %s -f imaps://localhost:%d/%s" % (rc, suite.port("IMAPS"), folder), "/dev/null"],
        env=dict(os.environ, HOME=str(tmp_path), TERM="vt100"))
    c.ok("SELECT " + folder)
    got = c.ok("FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (Subject)])")
    assert len(got) == 1 and b"from Ann" in got[0]


# --- curl ---

def test_curl(suite, folder, imap):
    host, port, imaps = place(suite)
    c = imap()
    c.append(folder, SIMPLE)
    user = ["-sS", "--user", "%s:%s" % (ALICE, suite.passwords[ALICE])]
    base = "imap://%s:%s/%s" % (host, port, folder)
    curl = need("curl")
    assert run([curl, *user, base + ";UID=1"]).encode().replace(b"\r\n", b"\n") == lf(SIMPLE)
    assert "FLAGS" in run([curl, *user, base, "-X", "FETCH 1 (FLAGS)"])
    assert "* SEARCH 1" in run([curl, *user, base + "?SUBJECT%20simple"])
    up = suite.base / "up.eml"
    up.write_bytes(MULTI)
    run([curl, *user, base, "-T", up])
    up.unlink()
    assert "INBOX" in run([curl, *user, "-k", "imaps://%s:%s/" % (host, imaps)])
    assert b"MESSAGES 2" in c.ok("STATUS %s (MESSAGES)" % folder)[0]


# --- ImapFlow ---

FLOW = """
const { ImapFlow } = require('imapflow');
const [host, port, user, pass, folder] = process.argv.slice(2);
(async () => {
  const c = new ImapFlow({ host, port: Number(port), secure: false, doSTARTTLS: false, auth: { user, pass }, logger: false, qresync: true });
  await c.connect();
  const out = { enabled: [...c.enabled].sort() };
  const lock = await c.getMailboxLock(folder);
  out.exists = c.mailbox.exists;
  out.messages = [];
  for await (const m of c.fetch('1:*', { uid: true, flags: true, envelope: true, bodyStructure: true, source: true, internalDate: true }))
    out.messages.push({ uid: m.uid, subject: m.envelope.subject, id: m.emailId, size: m.source.length, modseq: String(m.modseq || ''), type: m.bodyStructure.type });
  out.search = await c.search({ subject: 'simple' });
  out.flagged = await c.messageFlagsAdd('1', ['\\\\Flagged']);
  out.copy = (await c.messageCopy('1', folder)).uidMap.size;
  out.move = (await c.messageMove('2', folder)).uidMap.size;
  out.appended = (await c.append(folder, 'Subject: flow\\r\\n\\r\\nx\\r\\n', ['\\\\Seen'])).uid;
  out.status = await c.status(folder, { messages: true, highestModseq: true, unseen: true });
  out.deleted = await c.messageDelete({ seen: true });
  lock.release();
  out.folders = (await c.list({ statusQuery: { messages: true } })).map(f => [f.path, f.specialUse || '']);
  await c.logout();
  console.log(JSON.stringify(out, (k, v) => typeof v === 'bigint' ? String(v) : v));
})().catch(e => { console.error(e); process.exit(1); });
"""


def test_imapflow(suite, imap, folder, tmp_path):
    host, port, _ = place(suite)
    assert (NODE / "imapflow").is_dir(), "imapflow is missing: t/deps check installs it"
    c = imap()
    c.append(folder, SIMPLE)
    c.append(folder, MULTI)
    script = tmp_path / "flow.js"
    script.write_text(FLOW)
    out = json.loads(run([need("node"), script, host, port, ALICE, suite.passwords[ALICE], folder], env=dict(os.environ, NODE_PATH=str(NODE))))
    assert "CONDSTORE" in out["enabled"] and "UTF8=ACCEPT" in out["enabled"], out["enabled"]
    assert out["exists"] == 2 and [m["size"] for m in out["messages"]] == [len(SIMPLE), len(MULTI)]
    assert out["messages"][1]["subject"] == "Grüße from Ann" and out["messages"][1]["type"] == "multipart/mixed"
    assert all(re.match("M[0-9a-f]{32}$", m["id"]) for m in out["messages"])
    assert out["search"] == [1] and out["flagged"] is True and out["copy"] == 1 and out["move"] == 1 and out["appended"] == 5
    assert out["status"]["messages"] == 4 and out["deleted"] is True
    assert ["Sent", "\\Sent"] in out["folders"] and [folder, ""] in out["folders"]


# --- Roundcube ---

def test_roundcube(suite, imap, folder):
    """Login, folder list, a page of the list sorted and threaded, a message, flags, a move to Trash, a draft, quota: as rcube_imap_generic spells them."""
    a = imap()
    for i in range(1, 8):
        a.append(folder, numbered(i), '"0%d-Jan-2020 00:00:00 +0000" ' % i)
    a.append(folder, MULTI)
    c = imap(login=None)
    caps = c.ok("CAPABILITY")[0]
    c.ok('ID ("name" "Roundcube" "version" "1.6" "php" "8.2" "os" "Linux" "command" "/")')
    import base64
    token = base64.b64encode(b"\0" + ALICE.encode() + b"\0" + suite.passwords[ALICE].encode()).decode()
    status, line, _ = c.cmd("AUTHENTICATE PLAIN " + token)
    assert status == "OK"
    caps = line.encode()
    for cap in (b"SORT", b"THREAD=REFS", b"THREAD=REFERENCES", b"ESEARCH", b"LIST-STATUS", b"SPECIAL-USE", b"QUOTA", b"UIDPLUS", b"MOVE", b"QRESYNC", b"LITERAL+", b"BINARY",
                b"METADATA", b"SORT=DISPLAY", b"UNSELECT", b"ENABLE"):
        assert re.search(rb"[ \[]" + re.escape(cap) + rb"[ \]]", caps), cap
    c.ok("NAMESPACE")
    c.ok("ENABLE QRESYNC")
    assert any(b"\\Sent" in l for l in c.ok('LIST (SPECIAL-USE) "" "*" RETURN (SUBSCRIBED)')) and c.ok('LIST (SUBSCRIBED) "" "*"') is not None
    got = c.ok('LIST (SUBSCRIBED) "" ("INBOX" "*") RETURN (STATUS (MESSAGES UNSEEN))')
    assert all(l.startswith((b"* LIST", b"* STATUS")) for l in got)
    c.ok("SUBSCRIBE " + folder)
    assert any(b"UNSEEN 8" in l for l in c.ok("STATUS %s (UNSEEN MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ)" % folder))
    c.ok("SELECT " + folder)
    assert c.ok("UID SORT RETURN (ALL COUNT) (REVERSE ARRIVAL) UTF-8 ALL UNDELETED")[-1].split(b")")[1] == b" UID COUNT 8 ALL 8,7,6,5,4,3,2,1"
    assert c.ok("UID SORT (REVERSE DATE) US-ASCII UNDELETED")[-1].startswith(b"* SORT ")
    assert c.ok("UID THREAD REFS US-ASCII UNDELETED")[-1].startswith(b"* THREAD (")
    got = c.ok("UID FETCH 1:8 (UID RFC822.SIZE FLAGS INTERNALDATE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (DATE FROM TO SUBJECT CONTENT-TYPE CC REPLY-TO LIST-POST "
               "DISPOSITION-NOTIFICATION-TO X-PRIORITY)])")
    assert len(got) == 8 and all(b"BODY[HEADER.FIELDS (DATE FROM TO SUBJECT CONTENT-TYPE CC REPLY-TO LIST-POST DISPOSITION-NOTIFICATION-TO X-PRIORITY)] {" in l for l in got)
    assert len(c.ok("UID FETCH 8 (UID BODY.PEEK[1.MIME] BODY.PEEK[1])")) == 1
    assert len(c.ok("UID FETCH 8 (BINARY.PEEK[1])")) == 1
    c.ok("UID STORE 8 +FLAGS.SILENT (\\Seen)")
    assert re.match(rb'\* ESEARCH \(TAG ".*"\) UID ALL 1:7 COUNT|\* ESEARCH \(TAG ".*"\) UID COUNT 7 ALL 1:7', c.ok("UID SEARCH RETURN (ALL COUNT) UNSEEN UNDELETED")[-1])
    text = b"message"
    assert c.ok(b"UID SEARCH RETURN (ALL) CHARSET UTF-8 OR HEADER SUBJECT {%d+}\r\n%s HEADER FROM {%d+}\r\n%s" % (len(text), text, len(text), text))[-1].endswith(b"ALL 1:7")
    status, line, lines = c.cmd("UID MOVE 3 Trash")
    assert status == "OK" and any(b"[COPYUID " in l for l in lines) and any(l == b"* VANISHED 3" for l in lines)
    draft = b"Subject: draft\r\n\r\nx\r\n"
    c.send(b"d APPEND Drafts (\\Seen) {%d+}\r\n%s\r\n" % (len(draft), draft))
    status, line, _ = c.finish("d")
    uid = re.search(r"\[APPENDUID \d+ (\d+)\]", line).group(1)
    c.ok("SELECT Drafts")
    c.ok("UID STORE %s +FLAGS.SILENT (\\Deleted)" % uid)
    c.ok("UID EXPUNGE " + uid)
    c.ok("GETQUOTAROOT INBOX")
    c.ok('GETMETADATA (DEPTH infinity) INBOX (/private/vendor/kolab)')
    lines = c.ok("SELECT %s (QRESYNC (%s 1 1:8))" % (folder, re.search(rb"UIDVALIDITY (\d+)", c.ok("STATUS %s (UIDVALIDITY)" % folder)[0]).group(1).decode()))
    assert any(l == b"* VANISHED (EARLIER) 3" for l in lines)
    c.ok("UNSUBSCRIBE " + folder)
    c.ok("CLOSE")
    c.ok("SELECT Trash")
    c.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)")
    c.ok("EXPUNGE")
    c.ok("LOGOUT")
