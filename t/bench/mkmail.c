/* A maildir of N made-up messages for the benches, the same for the same seed.
 *
 *	mkmail DIR N [SEED]		cur/ of DIR (made when missing) is filled; prints the bytes written
 *
 * What a company's mail looks like, as far as it matters here: three header sections of five with a trace of several hops, threads with growing References,
 * half of the bodies plain text (a third of those quoted-printable in UTF-8 or Latin-1), a quarter multipart/alternative with HTML, some with a base64
 * attachment, a few with an embedded message; words by Zipf's law from a vocabulary of syllables; 4 KB in the mean. Nine of ten are seen. One in 500 has
 * "quartalsabschluss" in its subject, one in 1,000 "zwetschgenkuchen" in its body. */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"

enum { WORDS = 30000, PEOPLE = 900, THREADS = 4096, REFS_MAX = 12, MESSAGE_MAX = 1 << 20, ZIPF = 65536 };

static uint64_t seed = 1;
static char *words[WORDS];
static uint16_t zipf[ZIPF];
static char *people[PEOPLE];
static struct thread {
	unsigned n;		/* messages so far; 0: not begun */
	uint64_t ids[REFS_MAX];
	char subject[160];
} threads[THREADS];

static uint64_t rnd(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed * UINT64_C(0x2545f4914f6cdd1d) >> 16) % below;
}

static void make_words(void)
{
	static const char *const syllables[] = { "ver", "ge", "an", "be", "ung", "lich", "keit", "ment", "tion", "ing", "er", "re", "con", "pro", "ma", "le", "to", "na",
		"schl", "str", "ab", "aus", "ein", "über", "könn", "für", "mit", "sen", "den", "ra", "li", "mo", "ta", "ver", "com", "pa", "ny", "ser", "vi", "ce", "po" };
	const size_t n = sizeof(syllables) / sizeof(*syllables);

	for (size_t i = 0; i < WORDS; i++) {
		char w[64] = "";
		for (size_t k = 1 + rnd(i < 300 ? 2 : 4); k > 0; k--)
			strncat(w, syllables[rnd(n)], sizeof(w) - strlen(w) - 1);
		words[i] = xstrdup(w);
	}
	for (size_t i = 0; i < ZIPF; i++)
		zipf[i] = (uint16_t)(pow((double)WORDS, (double)i / ZIPF) - 1);
	for (size_t i = 0; i < PEOPLE; i++) {
		char p[256];
		const char *const a = words[rnd(WORDS)], *const b = words[rnd(WORDS)];
		snprintf(p, sizeof(p), "u%zu.%zu@%s%zu.example", i, strlen(a) + strlen(b), i % 5 ? "partner" : "company", i % 5 ? i % 60 : 1);
		people[i] = xstrdup(p);
	}
}

static const char *word(void)
{
	return words[zipf[rnd(ZIPF)]];
}

static void text(struct buf *b, size_t n, size_t line, bool latin1)
{
	size_t col = 0;

	for (const size_t end = b->n + n; b->n < end;) {
		const char *const w = word();
		if (col + strlen(w) > line) {
			buf_ch(b, '\n');
			col = 0;
		} else if (col) {
			buf_ch(b, ' ');
		}
		col += strlen(w) + 1;
		for (const char *p = w; *p; p++) {
			if (latin1 && (unsigned char)*p == 0xc3 && p[1])
				buf_ch(b, (char)((unsigned char)*++p | 0x40));
			else if (!(latin1 && (unsigned char)*p == 0xc5))
				buf_ch(b, *p);
		}
	}
	buf_ch(b, '\n');
}

static void quoted_printable(struct buf *out, const struct buf *in)
{
	size_t col = 0;

	for (size_t i = 0; i < in->n; i++) {
		const unsigned char c = (unsigned char)in->p[i];
		if (col > 70 && c != '\n') {
			buf_c(out, "=\n");
			col = 0;
		}
		if (c == '\n') {
			buf_ch(out, '\n');
			col = 0;
		} else if (c >= 0x80 || c == '=') {
			buf_printf(out, "=%02X", c);
			col += 3;
		} else {
			buf_ch(out, (char)c);
			col++;
		}
	}
}

static void base64_noise(struct buf *out, size_t bytes)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < bytes * 4 / 3 / 4 * 4; i++) {
		buf_ch(out, set[rnd(64)]);
		if (i % 76 == 75)
			buf_ch(out, '\n');
	}
	buf_ch(out, '\n');
}

static void plain_part(struct buf *b, size_t n, const char *needle)
{
	struct buf t;
	const uint64_t kind = rnd(6);

	buf_init(&t, MESSAGE_MAX);
	text(&t, n, 72, kind == 1);
	buf_c(&t, needle);
	if (kind < 2) {
		buf_printf(b, "Content-Type: text/plain; charset=%s\nContent-Transfer-Encoding: quoted-printable\n\n",
			   kind == 1 ? "iso-8859-1" : "utf-8");
		quoted_printable(b, &t);
	} else {
		buf_c(b, "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n");
		buf_mem(b, t.p, t.n);
	}
	buf_fini(&t);
}

static void html_part(struct buf *b, size_t n)
{
	buf_c(b, "Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n<html><head><meta charset=\"utf-8\"></head><body>\n<p class=\"MsoNormal\">");
	text(b, n, 90, false);
	buf_c(b, "</p>\n<div style=\"margin: 0 0 1em 0\">&nbsp;</div></body></html>\n");
}

static void body(struct buf *b, uint64_t id, const char *needle)
{
	const uint64_t kind = rnd(20);
	const size_t n = 500 + rnd(1500) + (rnd(8) ? 0 : rnd(6000));

	buf_c(b, "MIME-Version: 1.0\n");
	if (kind < 10) {
		plain_part(b, n + 600, needle);
		return;
	}
	buf_printf(b, "Content-Type: multipart/%s; boundary=\"=_%llx_b\"\n\nThis is a message in MIME format.\n--=_%llx_b\n", kind < 16 ? "alternative" : "mixed",
		   (unsigned long long)id, (unsigned long long)id);
	plain_part(b, n, needle);
	buf_printf(b, "\n--=_%llx_b\n", (unsigned long long)id);
	if (kind < 16) {
		html_part(b, n);
	} else if (kind < 19) {
		buf_printf(b, "Content-Type: application/pdf; name=\"%s.pdf\"\nContent-Transfer-Encoding: base64\n", word());
		buf_printf(b, "Content-Disposition: attachment; filename=\"%s.pdf\"\n\n", word());
		base64_noise(b, 1000 + rnd(6000));
	} else {
		buf_printf(b, "Content-Type: message/rfc822\n\nFrom: %s\nTo: %s\nDate: Mon, 1 Jan 2024 10:00:00 +0000\n", people[rnd(PEOPLE)], people[rnd(PEOPLE)]);
		buf_printf(b, "Subject: %s %s\n\n", word(), word());
		text(b, n, 72, false);
	}
	buf_printf(b, "\n--=_%llx_b--\n", (unsigned long long)id);
}

static void date(struct buf *b, const char *name, time_t t, int zone)
{
	char s[64];
	struct tm tm;
	const time_t shown = t + zone * 60;

	gmtime_r(&shown, &tm);
	strftime(s, sizeof(s), "%a, %d %b %Y %H:%M:%S", &tm);
	buf_printf(b, "%s%s %c%02d%02d\n", name, s, zone < 0 ? '-' : '+', abs(zone) / 60, abs(zone) % 60);
}

static void trace(struct buf *b, uint64_t id, time_t t)
{
	for (uint64_t hops = rnd(4); hops > 0; hops--) {
		buf_printf(b, "Received: from mx%d.partner%d.example (mx%d.partner%d.example [192.0.2.%d])\n"
			   "\tby mail.company.example (Postfix) with ESMTPS id %012llX\n\tfor <%s>; ", (int)rnd(9), (int)rnd(60), (int)rnd(9), (int)rnd(60), (int)rnd(255),
			   (unsigned long long)(id * 0x9e3779b97f4a7c15 >> 16), people[rnd(PEOPLE)]);
		date(b, "", t, 60);
	}
	if (rnd(2))
		buf_printf(b, "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=partner%d.example; s=s1;\n\th=From:To:Subject:Date:Message-ID;\n"
			   "\tbh=%016llx%016llx=;\n\tb=%016llx%016llx%016llx\n", (int)rnd(60), (unsigned long long)rnd(UINT64_MAX), (unsigned long long)rnd(UINT64_MAX),
			   (unsigned long long)rnd(UINT64_MAX), (unsigned long long)rnd(UINT64_MAX), (unsigned long long)rnd(UINT64_MAX));
}

static void subject(struct buf *b, struct thread *th, uint64_t n)
{
	if (th->n == 0) {
		th->subject[0] = '\0';
		for (uint64_t k = 2 + rnd(6); k > 0; k--) {
			strncat(th->subject, word(), sizeof(th->subject) - strlen(th->subject) - 2);
			strcat(th->subject, k > 1 ? " " : "");
		}
		if (n % 500 == 250)
			snprintf(th->subject, sizeof(th->subject), "Der Quartalsabschluss %llu", (unsigned long long)n);
	}
	bool ascii = true;
	for (const char *p = th->subject; *p; p++)
		ascii &= (unsigned char)*p < 0x80;
	buf_printf(b, "Subject: %s", th->n ? "Re: " : "");
	if (ascii) {
		buf_c(b, th->subject);
	} else {
		buf_c(b, "=?utf-8?Q?");
		for (const char *p = th->subject; *p; p++) {
			if ((unsigned char)*p >= 0x80)
				buf_printf(b, "=%02X", (unsigned char)*p);
			else
				buf_ch(b, *p == ' ' ? '_' : *p);
		}
		buf_c(b, "?=");
	}
	buf_ch(b, '\n');
}

static void references(struct buf *b, const struct thread *th)
{
	if (th->n == 0)
		return;
	const unsigned have = th->n < REFS_MAX ? th->n : REFS_MAX;
	buf_printf(b, "In-Reply-To: <%llx@company.example>\nReferences:", (unsigned long long)th->ids[have - 1]);
	for (unsigned i = 0; i < have; i++)
		buf_printf(b, " <%llx@company.example>%s", (unsigned long long)th->ids[i], i + 1 < have && i % 2 ? "\n" : "");
	buf_ch(b, '\n');
}

static void message(struct buf *b, uint64_t n, time_t t)
{
	struct thread *th = &threads[rnd(THREADS)];
	const uint64_t id = (n + 1) * UINT64_C(0x9e3779b97f4a7c15);

	if (rnd(4) == 0 || th->n > 40 || n % 500 == 250)
		th->n = 0;
	buf_printf(b, "Return-Path: <%s>\nDelivered-To: user0@company.example\n", people[rnd(PEOPLE)]);
	if (rnd(5) < 3)
		trace(b, id, t);
	buf_printf(b, "From: \"%s %s\" <%s>\nTo: user0@company.example", word(), word(), people[rnd(PEOPLE)]);
	for (uint64_t k = rnd(4); k > 0; k--)
		buf_printf(b, ",\n\t%s <%s>", word(), people[rnd(PEOPLE)]);
	buf_ch(b, '\n');
	if (rnd(4) == 0)
		buf_printf(b, "Cc: %s\n", people[rnd(PEOPLE)]);
	subject(b, th, n);
	date(b, "Date: ", t - (time_t)rnd(600), (int)rnd(5) * 60 - 120);
	buf_printf(b, "Message-ID: <%llx@company.example>\n", (unsigned long long)id);
	references(b, th);
	buf_printf(b, "X-Mailer: Bench %llu.%llu\n", (unsigned long long)rnd(9), (unsigned long long)rnd(20));
	body(b, id, n % 1000 == 500 ? "heute gibt es Zwetschgenkuchen im Hof\n" : "");
	if (th->n >= REFS_MAX)
		memmove(th->ids + 1, th->ids + 2, (REFS_MAX - 2) * sizeof(*th->ids));
	th->ids[th->n < REFS_MAX ? th->n : REFS_MAX - 1] = id;
	th->n++;
}

static int store(int cur, const struct buf *b, uint64_t n, time_t t)
{
	char name[200];
	uint64_t lines = 0;

	for (size_t i = 0; i < b->n; i++)
		lines += b->p[i] == '\n';
	snprintf(name, sizeof(name), "%lld.M%06lluP%llu.bench,S=%zu,W=%llu:2,%s", (long long)t, (unsigned long long)(n % 1000000), (unsigned long long)(1000 + n % 29000), b->n,
		 (unsigned long long)(b->n + lines), n % 10 ? "S" : "");
	const int fd = openat(cur, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, b->p, b->n) != (ssize_t)b->n)
		return -1;
	const struct timespec ts[2] = { { .tv_sec = t }, { .tv_sec = t } };
	(void)!futimens(fd, ts);
	return close(fd);
}

int main(int argc, char **argv)
{
	struct buf b;
	uint64_t bytes = 0;
	char path[4096];

	if (argc < 3)
		return 2;
	const uint64_t n = strtoull(argv[2], NULL, 10);
	seed = 0x9e3779b97f4a7c15u ^ (argc > 3 ? strtoull(argv[3], NULL, 10) : 1);
	static const char *const subs[] = { "", "/cur", "/new", "/tmp" };
	for (size_t i = 0; i < sizeof(subs) / sizeof(*subs); i++) {
		snprintf(path, sizeof(path), "%s%s", argv[1], subs[i]);
		(void)!mkdir(path, 0700);
	}
	snprintf(path, sizeof(path), "%s/cur", argv[1]);
	const int cur = open(path, O_RDONLY | O_DIRECTORY);
	if (cur < 0) {
		perror(path);
		return 1;
	}
	make_words();
	buf_init(&b, MESSAGE_MAX);
	for (uint64_t i = 0; i < n; i++) {
		const time_t t = 1600000000 + (time_t)(i * 60);
		buf_reset(&b);
		message(&b, i, t);
		if (buf_failed(&b) || store(cur, &b, i, t) < 0) {
			perror("mkmail");
			return 1;
		}
		bytes += b.n;
	}
	printf("%llu\n", (unsigned long long)bytes);
	return 0;
}
