"""Messages of 100 KB, made of a corpus, the same in each run. Three kinds, each what every filter checks:
thread: a mail that quotes what it answers to, as mail programs write it: text, and the same as HTML (multipart/alternative, quoted-printable).
attachment: text and HTML of 10 KB together and a PDF with text on its pages, base64.
joined: one text of bodies with their MIME headers, as they are in the corpus: the hardest, for scanners take it for many bounces in one another."""
import email
import email.message
import email.policy
import html
import itertools
import re
import zlib

LONG, LONG_COUNT = 100 << 10, 20


def joined(messages):
    """Bodies of the corpus as they are, MIME headers and all, one after the other under one header: looks like mails in mails to some."""
    out, rest = [], list(messages)
    while len(out) < LONG_COUNT and rest:
        head, body = b"Subject: long\nFrom: <a@example.org>\nMIME-Version: 1.0\nContent-Type: text/plain; charset=iso-8859-1\n", b""
        while len(body) < LONG and rest:
            body += rest.pop().split(b"\n\n", 1)[-1]
        out.append(head + b"\n" + body[:LONG])
    return out


def plain_texts(messages):
    """(who wrote it, decoded text/plain) of the corpus' messages that have one which is not HTML in truth; after the last one the first again."""
    found = []
    for raw in messages:
        m = email.message_from_bytes(raw)
        for part in m.walk():
            if part.get_content_type() == "text/plain" and part.get_filename() is None:
                text = part.get_payload(decode=True).decode("ascii" if part.get_content_charset() is None else "iso-8859-1", "replace")
                text = re.sub(r"[\0-\b\v-\x1f\x7f-\x9f]", "", text.replace("\r", "")).strip()
                who = re.sub(r"[^ -~]", "", str(m.get("From", ""))).strip()
                if text and not re.search(r"</?(html|body|font|p|br|a|table)\b", text, re.I):
                    found.append((who, text))
                break
    return itertools.cycle(found)


def thread_of(texts, size):
    """Texts of the size: a mail and what it answers to, each quoted."""
    out = ""
    while len(out) < size:
        who, text = next(texts)
        out += "%s\n\n%s wrote:\n%s\n\n" % (text.split("\n\n")[0], who, "\n".join("> " + line for line in text.split("\n")))
    return out[:size]


def page_of(text):
    """The text as mail programs write it in HTML."""
    lines = "<br>\n".join(re.sub(r"(https?://[^\s<>&\"']+)", r'<a href="\1">\1</a>', html.escape(line, quote=False)) for line in text.split("\n"))
    return ('<html><head><meta http-equiv="Content-Type" content="text/html; charset=utf-8"></head>\n<body><div style="font-family: sans-serif">\n%s</div></body></html>\n'
            % lines)


def document_of(text):
    """A PDF with the text on its pages, deflated."""
    pages = [text[i:i + 3000] for i in range(0, len(text), 3000)]
    kids = b" ".join(b"%d 0 R" % (4 + 2 * i) for i in range(len(pages)))
    parts = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Count %d/Kids[%s]>>" % (len(pages), kids),
             b"<</Type/Font/Subtype/Type1/BaseFont/Courier>>"]
    for i, page in enumerate(pages):
        show = b"".join(b"(%s)'" % re.sub(rb"([\\()])", rb"\\\1", line.encode("latin-1", "replace")) for line in page.split("\n"))
        data = zlib.compress(b"BT /F 9 Tf 11 TL 40 800 Td " + show + b" ET")
        parts += [b"<</Type/Page/Parent 2 0 R/Resources<</Font<</F 3 0 R>>>>/Contents %d 0 R>>" % (5 + 2 * i),
                  b"<</Filter/FlateDecode/Length %d>>stream\n" % len(data) + data + b"\nendstream"]
    out, at = b"%PDF-1.4\n", []
    for i, part in enumerate(parts):
        at.append(len(out))
        out += b"%d 0 obj" % (i + 1) + part + b"endobj\n"
    xref = b"xref\n0 %d\n0000000000 65535 f \n" % (len(at) + 1) + b"".join(b"%010d 00000 n \n" % a for a in at)
    return out + xref + b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(at) + 1, len(out))


def mail_of(text, document, n):
    """multipart/alternative of the text, and the document after it."""
    m = email.message.EmailMessage(email.policy.default)
    m["Date"] = "Mon, 02 Sep 2002 10:%02d:00 +0000" % (n % 60)
    m["From"], m["To"], m["Subject"] = "Ann Example <ann@example.org>", "Bob <bob@bench.example>", "Re: what we talked about (%d)" % n
    m["Message-ID"] = "<long-%d@example.org>" % n
    m.set_content(text, cte="quoted-printable")
    m.add_alternative(page_of(text), subtype="html", cte="quoted-printable")
    if document is not None:
        m.add_attachment(document, maintype="application", subtype="pdf", filename="minutes-%d.pdf" % n)
    for i, part in enumerate(p for p in m.walk() if p.is_multipart()):
        part.set_boundary("----=_Part_%d_%d" % (n, i))
    return m.as_bytes()


def of_size(make):
    """make(n) with the n that makes it nearly LONG bytes."""
    n = 0
    for step in (LONG * 2 >> i for i in range(1, 12)):
        if len(make(n + step)) <= LONG:
            n += step
    return make(n)


def long_kinds(messages):
    """{kind: messages of LONG bytes}."""
    texts = plain_texts(messages)
    threads, attachments = [], []
    for n in range(LONG_COUNT):
        text, paper = thread_of(texts, LONG), thread_of(texts, 2 * LONG)
        threads.append(of_size(lambda size, text=text, n=n: mail_of(text[:size], None, n)))
        attachments.append(of_size(lambda size, text=text, paper=paper, n=n: mail_of(text[:4 << 10], document_of(paper[:size]), n)))
    return {"thread": threads, "attachment": attachments, "joined": joined(messages)}
