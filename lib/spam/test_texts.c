/* What rules see: rendered lines, HTML, addresses, relays, URIs, dates, charsets; small inputs with what SpamAssassin 4.0 makes of them. And every row of the
 * tables that only this library reads. */
#include "base/enc.h"
#include "mail/head.h"
#include "spam/eval.h"
#include "spam/html.h"
#include "spam/patterns.h"
#include "spam/test_spam.h"

#define HTML "MIME-Version: 1.0\nContent-Type: text/html; charset=utf-8\n"

static struct spam *engine;
static struct told told;

static struct msg *msg_of(struct arena *a, const char *text)
{
	struct msg *m = ARENA_NEW(a, struct msg);
	msg_init(m, a, spam_set(engine), NULL, str_c(text), 0);
	return m;
}

static void joined(const struct strs *v, struct buf *out)
{
	buf_reset(out);
	for (size_t i = 0; i < v->n; i++)
		buf_printf(out, "[%.*s]", STR_ARG(v->v[i]));
	for (size_t i = 0; i < out->n; i++)
		out->p[i] = out->p[i] == '\n' ? '/' : out->p[i];
}

static const struct { const char *mail, *lines; } bodies[] = {
	{ "Subject: Hi\n\none\ntwo\n\n\nthree  four\t five\n", "[Hi/][one two/][three four five ]" },
	{ "\nno subject", "[/][no subject]" },
	{ "Subject: =?utf-8?q?caf=C3=A9?= =?utf-8?q?_x?=\n\nb\n", "[caf\xc3\xa9 x/][b ]" },
	{ "Content-Transfer-Encoding: quoted-printable\n\na=20b=\nc=3D\n", "[/][a bc= ]" },
	{ "Content-Transfer-Encoding: quoted-printable\n\na=\nb = \nc  \n=3d=4\ne=2", "[/][ab c ==4 e=2]" },
	{ "Content-Transfer-Encoding: quoted-printable\n\nx=4=\n1y=4g= ", "[/][x=41y=4g= ]" },
	{ "Content-Transfer-Encoding: base64\n\naGVs\nbG8=\n", "[/][hello]" },
	{ "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\ncaf=E9 =80\n", "[/][caf\xc3\xa9 \xe2\x82\xac ]" },
	{ "Content-Type: multipart/mixed; boundary=b\n\npre\n--b\n\none\n--b\nContent-Type: text/html\n\n<p>two</p>\n--b\nContent-Type: image/gif\n\nGIF\n--b--\n", "[/][one/][two/]" },
	{ HTML "\n<html><body>a<br>b<p>c</p><b>d</b>e&nbsp;f&amp;g&lt;</body></html>\n", "[/][a b/][c/][de f&g< ]" },
	{ HTML "\n<style>x{}</style><script>var a = '</p>';</script>seen<!-- not --><li>i<td>t", "[/][seen i t]" },
	{ HTML "\nV<b></b>I<i>A</i>GRA a < b <a href=x>link</a\n> end <unfinished", "[/][VIAGRA a < b link end ]" },
};

static void lines(void)
{
	struct buf got;
	buf_init(&got, 100000);
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		struct arena *a = arena_new(0);
		joined(msg_body_lines(msg_of(a, bodies[i].mail)), &got);
		tap_is_str(got.p, bodies[i].lines, "lines of case %zu", i);
		arena_free(&a);
	}
	buf_fini(&got);
}

static const struct { const char *spec, *mail, *value; } heads[] = {
	{ "From:addr", "From: \"Last, First\" <a@b.example> (c)\n\n", "[a@b.example]" },
	{ "From:name", "From: \"Last, First\" <a@b.example>\n\n", "[Last, First]" },
	{ "From:name", "From: a@b.example (Some One)\n\n", "[Some One]" },
	{ "To:addr", "To: a@b.c, <d@e.f>, X <g@h.i>; undisclosed\n\n", "[a@b.c][d@e.f][g@h.i]" },
	{ "To:addr", "To: undisclosed-recipients:;\n\n", "" },
	{ "To:addr", "To: Group: a@b.c, d@e.f;\n\n", "[a@b.c][d@e.f]" },
	{ "Subject:raw", "Subject:  =?x?q?a?=\n\tb\n\n", "[  =?x?q?a?=/\tb/]" },
	{ "Subject", "SUBJECT :a\n b \n\n", "[a b/]" },
	{ "X:domain", "X: http://www.shop.example.net/ and x\n\n", "[example.net]" },
	{ "X:revip", "X: from 1.2.3.4 here\n\n", "[4.3.2.1]" },
	{ "EnvelopeFrom", "Return-Path: <me@x.example>\nReceived: by y\n\n", "[me@x.example]" },
	{ "EnvelopeFrom", "Received: by y\nReturn-Path: <me@x.example>\n\n", "" },
	{ "ALL", "A: 1\nb : 2\n 3\nbroken\n\n", "[A: 1/][b: 2 3/]" },
	{ "X-Spam-Relays-External", "Received: from h.example (r.example [1.2.3.4]) by mx.example (Postfix) with ESMTP id ABC; Thu, 22 Aug 2002 18:26:25 +0700\n\n",
	  "[[ ip=1.2.3.4 rdns=r.example helo=h.example by=mx.example ident= envfrom= intl=0 id=ABC auth= msa=0 ]]" },
	{ "X-Spam-Relays-Trusted", "Received: from h (unknown [10.0.0.9]) by mx.example (8.12/8.12) with ESMTP id 123; Thu, 22 Aug 2002 18:26:25 +0700\n\n",
	  "[[ ip=10.0.0.9 rdns= helo=h by=mx.example ident= envfrom= intl=1 id=123 auth= msa=0 ]]" },
	{ "X-Spam-Relays-Untrusted", "Received: from x ([IPv6:2001:db8::7] helo=y) by z.example with esmtpsa (Exim 4) id 7; Thu, 22 Aug 2002 18:26:25 +0700\n\n", "[]" },
};

static void values(void)
{
	struct buf got;
	buf_init(&got, 100000);
	for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
		struct arena *a = arena_new(0);
		joined(msg_get_all(msg_of(a, heads[i].mail), heads[i].spec), &got);
		tap_is_str(got.p == NULL ? "" : got.p, heads[i].value, "%s of case %zu", heads[i].spec, i);
		arena_free(&a);
	}
	buf_fini(&got);
}

static const struct { const char *mail, *uris; } links[] = {
	{ "\nsee http://a.example.com/x, or www.b.example.com.\n", "[http://a.example.com/x][http://www.b.example.com]" },
	{ "\nmail me@c.example.com now (d.example.com/p)\n", "[mailto:me@c.example.com][http://d.example.com/p]" },
	{ "\nhttp://127.1.2.3/ http://0x7f.1.1.2/%41\n", "[http://127.1.2.3/][http://0x7f.1.1.2/%41][http://0x7f.1.1.2/A][http://127.1.1.2/A]" },
	{ "\nnothing.here and a@b and version 1.2.3\n", "" },
	{ "\nhttp://r.example.com/?u=http://t.example.net/\n", "[http://r.example.com/?u=http://t.example.net/][http://t.example.net/]" },
	{ HTML "\n<base href=http://b.example.com/d/f.html><a href=\"../x\">y</a><img src='http://i.example.net/p.gif'>\n",
	  "[http://b.example.com/d/f.html][http://b.example.com/x][../x][http://../x][http:///x][http://i.example.net/p.gif]" },
};

static void uris(void)
{
	struct buf got;
	buf_init(&got, 100000);
	for (size_t i = 0; i < ARRAY_LEN(links); i++) {
		struct arena *a = arena_new(0);
		joined(msg_uri_list(msg_of(a, links[i].mail)), &got);
		tap_is_str(got.p == NULL ? "" : got.p, links[i].uris, "URIs of case %zu", i);
		arena_free(&a);
	}
	buf_fini(&got);
}

static void tables(void)
{
	static const struct { const char *name; unsigned cp; } entities[] = {
#define ENTITY(name, cp, open) { name, cp },
#include "spam/entities.def"
#undef ENTITY
	};
	static const char *const charsets[] = {
#define CHARSET(name) name,
#include "mail/charsets.def"
#undef CHARSET
	};
	static const struct { const char *name; int minutes; } zones[] = {
#define ZONE(name, minutes) { name, minutes },
#include "spam/zones.def"
#undef ZONE
	};
	struct arena *a = arena_new(0);
	struct buf b;
	bool good = true;
	buf_init(&b, 10000);
	for (size_t i = 0; i < ARRAY_LEN(entities); i++) {
		buf_reset(&b);
		utf8_put(&b, entities[i].cp);
		good &= str_eq(html_entities(a, str_c(arena_printf(a, "&%s;", entities[i].name)), true), buf_view(&b));
	}
	tap_ok(good, "every named character");
	tap_is_mem(html_entities(a, STR("&#65;&#x42;&ampx &bogus; &"), true), STR("AB&x &bogus; &"), "numbers, missing semicolons, none");
	for (size_t i = 0; i < ARRAY_LEN(charsets); i++) {
		buf_reset(&b);
		tap_ok(mail_charset_strict(str_c(charsets[i]), STR(""), &b) == 0, "%s has a converter", charsets[i]);
	}
	tap_ok(mail_charset_strict(STR("ks_c_5601-1987"), STR("\xb0\xa1"), &b) == 0 && str_eq(buf_view(&b), STR("\xea\xb0\x80")), "Korean");
	good = true;
	for (size_t i = 0; i < ARRAY_LEN(zones); i++) {
		int64_t t = 0, z = 0;
		good &= loose_date(str_c(arena_printf(a, "Thu, 22 Aug 2002 12:00:00 %s", zones[i].name)), &t) &&
			loose_date(STR("22 Aug 2002 12:00:00 +0000"), &z) && z - t == zones[i].minutes * 60;
	}
	tap_ok(good, "every time zone");
	buf_fini(&b);
	arena_free(&a);
}

int main(void)
{
	engine = rules_of("util_rb_tld com net example\nbody A /x/\n", true, &told);
	if (!tap_ok(engine != NULL, "loads"))
		return tap_done();
	lines();
	values();
	uris();
	tables();
	spam_free(&engine);
	return tap_done();
}
