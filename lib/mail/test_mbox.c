/* mbox files of every kind: where messages end, what is quoted, what the status fields say. */
#include <stdio.h>

#include "base/buf.h"
#include "mail/mbox.h"
#include "test/tap.h"

static int put(void *ctx, struct str piece, struct err *e)
{
	(void)e;
	buf_str(ctx, piece);
	return 0;
}

static void test_from_lines(void)
{
	static const struct {
		const char *line;
		bool is;
		int64_t date;
	} cases[] = {
		{ "From joe@example.com Mon Jan  2 15:04:05 2006", true, 1136214245 },
		{ "From joe Mon Jan 02 15:04:05 2006", true, 1136214245 },
		{ "From - Mon Jan 02 15:04:05 2006", true, 1136214245 },
		{ "From joe Mon Jan  2 15:04:05 2006 +0200", true, 1136207045 },
		{ "From joe Mon Jan  2 15:04:05 +0200 2006", true, 1136207045 },
		{ "From joe Mon Jan  2 15:04 2006", true, 1136214240 },
		{ "From joe Mon Jan  2 15:04:05 MET DST 2006", true, 1136214245 },
		{ "From joe blank@x Mon Jan  2 15:04:05 2006 remote from host", true, 1136214245 },
		{ "From Mon Jan  2 15:04:05 2006", true, 1136214245 },
		{ "From joe Mon, 2 Jan 2006 15:04:05 +0200", true, 1136207045 },
		{ "From joe Thu Jan  1 00:00:00 1970", true, 0 },
		{ "From time to time", false, 0 },
		{ "From Monday on we meet at 15:04", false, 0 },
		{ "From joe Mon Jan 32 15:04:05 2006", false, 0 },
		{ "From joe Mon Foo  2 15:04:05 2006", false, 0 },
		{ "from joe Mon Jan  2 15:04:05 2006", false, 0 },
		{ "From", false, 0 },
		{ "", false, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int64_t date = 0;
		const bool is = mail_mbox_from(str_c(cases[i].line), &date);
		tap_ok(is == cases[i].is && (!is || date == cases[i].date), "%s: %d %lld", cases[i].line, is, (long long)date);
	}
}

#define F "From a Mon Jan  2 15:04:05 2006\n"

/* All messages, "|" between them; a garbage place: "!". */
static const char *all(const char *file, enum mail_mbox_quote quote)
{
	static struct buf b;
	struct mail_mbox_msg m;
	struct err e = { 0 };
	size_t pos = 0;
	int r;

	buf_fini(&b);
	buf_init(&b, 65536);
	while ((r = mail_mbox_next(str_c(file), &pos, &m)) == 0) {
		if (mail_mbox_text(&m, quote, put, &b, &e) < 0)
			return "failed";
		buf_ch(&b, '|');
	}
	if (r < 0)
		buf_ch(&b, '!');
	buf_ch(&b, '\0');
	return b.p;
}

static void test_messages(void)
{
	static const struct {
		const char *name, *file, *want;
		enum mail_mbox_quote quote;
	} cases[] = {
		{ "two messages", F "A: 1\n\none\n\n" F "A: 2\n\ntwo\n", "A: 1\n\none\n|A: 2\n\ntwo\n|", MBOX_QUOTE_RD },
		{ "CRLF", "From a Mon Jan  2 15:04:05 2006\r\nA: 1\r\n\r\none\r\n\r\nFrom a Mon Jan  2 15:04:05 2006\r\nA: 2\r\n\r\n", "A: 1\r\n\none\r\n|A: 2\r\n\n|", MBOX_QUOTE_RD },
		{ "no body, no empty line", F "A: 1\n" F "A: 2\n", "A: 1\n\n|A: 2\n\n|", MBOX_QUOTE_RD },
		{ "no line end at all", F "A: 1\n\nx", "A: 1\n\nx|", MBOX_QUOTE_RD },
		{ "prose splits nothing", F "A: 1\n\none\n\nFrom time to time\n\n" F "A: 2\n\ntwo\n", "A: 1\n\none\n\nFrom time to time\n|A: 2\n\ntwo\n|", MBOX_QUOTE_RD },
		{ "a From_ line without an empty line before it is text", F "A: 1\n\none\n" F "two\n", "A: 1\n\none\n" F "two\n|", MBOX_QUOTE_RD },
		{ "mboxrd", F "A: 1\n\n>From x\n>>From y\n> From z\n>>>Frommage\n", "A: 1\n\nFrom x\n>From y\n> From z\n>>>Frommage\n|", MBOX_QUOTE_RD },
		{ "mboxo", F "A: 1\n\n>From x\n>>From y\n", "A: 1\n\nFrom x\n>>From y\n|", MBOX_QUOTE_O },
		{ "not quoted", F "A: 1\n\n>From x\n", "A: 1\n\n>From x\n|", MBOX_QUOTE_NONE },
		{ "mboxcl: counted and quoted", F "Content-Length: 8\n\n>From x\n\n" F "A: 2\n\n", "\nFrom x\n|A: 2\n\n|", MBOX_QUOTE_RD },
		{ "mboxcl2: counted, From_ lines inside", F "Content-Length: 38\n\na\n\n" F ">F\n\n" F "A: 2\n\nb\n", "\na\n\n" F ">F\n|A: 2\n\nb\n|", MBOX_QUOTE_RD },
		{ "a wrong length is not believed", F "Content-Length: 6\n\none\n\n" F "A: 2\n\ntwo\n", "\none\n|A: 2\n\ntwo\n|", MBOX_QUOTE_RD },
		{ "a huge length", F "Content-Length: 99999999999\n\none\n", "\none\n|", MBOX_QUOTE_RD },
		{ "own fields are left out", F "Status: RO\nA: 1\nX-UID: 5\nX-Mozilla-Status: 0001\nContent-Length: 4\nLines: 1\n\none\n", "A: 1\n\none\n|", MBOX_QUOTE_RD },
		{ "folds stay", F "A: 1\n\t2\nX-Keywords: a\n b\n\n", "A: 1\n\t2\n\n|", MBOX_QUOTE_RD },
		{ "another From_ in the header", F ">From x Mon\nA: 1\n\n", "A: 1\n\n|", MBOX_QUOTE_RD },
		{ "more empty lines between", F "A: 1\n\none\n\n\n\n" F "A: 2\n\n", "A: 1\n\none\n\n\n|A: 2\n\n|", MBOX_QUOTE_RD },
		{ "garbage first", "x\n" F "A: 1\n\n", "!", MBOX_QUOTE_RD },
		{ "empty", "", "", MBOX_QUOTE_RD },
		{ "only empty lines", "\n\r\n\n", "", MBOX_QUOTE_RD },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		tap_is_str(all(cases[i].file, cases[i].quote), cases[i].want, "%s", cases[i].name);
}

static const char *meta(const char *head)
{
	static char out[500];
	const struct mail_mbox_msg msg = { .head = str_c(head) };
	struct mail_mbox_meta m;
	int n;

	mail_mbox_meta(&msg, &m);
	n = snprintf(out, sizeof(out), "%s%s%s%s%s%s%s%s%s %u %u/%u", m.seen ? "S" : "", m.old ? "O" : "", m.answered ? "R" : "", m.flagged ? "F" : "",
		     m.deleted ? "T" : "", m.draft ? "D" : "", m.forwarded ? "P" : "", m.removed ? "!" : "", m.internal ? "i" : "", m.uid, m.uidvalidity, m.uidlast);
	for (size_t i = 0; i < m.n_keywords && n < 400; i++)
		n += snprintf(out + n, sizeof(out) - (size_t)n, " %.*s", STR_ARG(m.keywords[i]));
	return out;
}

static void test_meta(void)
{
	static const struct { const char *name, *head, *want; } cases[] = {
		{ "none", "A: 1\n", " 0 0/0" },
		{ "read and old", "Status: RO\n", "SO 0 0/0" },
		{ "all of UW's", "Status: RO\nX-Status: AFDT\nX-UID: 17\nX-Keywords: Work $Label1\n", "SORFTD 17 0/0 Work $Label1" },
		{ "Mozilla's", "X-Mozilla-Status: 1007\nX-Mozilla-Keys: $label1 x\n", "SRFP 0 0/0 $label1 x" },
		{ "Mozilla's removed", "X-Mozilla-Status: 0009\n", "S! 0 0/0" },
		{ "folder data", "Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1000000000 0000000042 Work\n", "i 0 1000000000/42" },
		{ "in the first message", "X-IMAPbase: 1000000001 7\nX-UID: 3\n", " 3 1000000001/7" },
		{ "garbage", "X-UID: -1\nX-IMAP: x\nX-Mozilla-Status: zz\nX-Keywords: a(b \"c d%\n", " 0 0/0" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		tap_is_str(meta(cases[i].head), cases[i].want, "%s", cases[i].name);
}

int main(void)
{
	test_from_lines();
	test_messages();
	test_meta();
	return tap_done();
}
