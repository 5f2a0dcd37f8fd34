"""Messages for the tests, in wire form."""


def crlf(text):
    return text.replace("\n", "\r\n").encode()


SIMPLE = crlf("""From: Ann <ann@example.com>
To: bob@example.org, "Carl C" <carl@example.net>
Subject: simple
Date: Mon, 7 Feb 1994 21:52:25 -0800
Message-ID: <simple@example.com>

Hello Bob.
Second line.
""")

MULTI = crlf("""From: Ann <ann@example.com>
To: group: a@x.example, b@y.example;, c@z.example
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= from Ann
Date: Tue, 8 Feb 1994 10:00:00 +0000
In-Reply-To: <simple@example.com>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="outer"

preamble
--outer
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

First part with =C3=84pfel.
--outer
Content-Type: message/rfc822
Content-Description: inner

From: inner@example.com
Subject: inner subject
Content-Type: multipart/alternative; boundary=inner

--inner
Content-Type: text/plain

inner plain
--inner
Content-Type: text/html

<p>inner html</p>
--inner--

--outer
Content-Type: application/octet-stream; name="a.bin"
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename="a.bin"

c2VjcmV0IHdvcmQ=
--outer--
epilogue
""")


def numbered(n, size=0):
    return crlf("From: <sender%d@example.com>\nSubject: message %d\nMessage-ID: <m%d@example.com>\n\nBody of message %d.\n%s"
                % (n, n, n, n, "x" * 70 * 0)) + b"line of padding text\r\n" * (size // 22)
