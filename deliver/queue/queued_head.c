/* The header of a message on its way in: counts hops, finds the message id, and says as edits what is added (Received; Date, Message-ID and From for our own users) and
 * removed (Return-Path, Bcc of our own users, Authentication-Results that claim to be ours: RFC 8601 5). The message itself is not touched. Pure.
 */
#include <stdio.h>
#include <time.h>

#include "base/enc.h"
#include "deliver/queue/queued.h"
#include "mail/edit.h"
#include "mail/head.h"

enum { EDITS_MAX = 64, VALUE_MAX = 4096, FORGED_MAX = 32 };

struct seen {
	unsigned received, results, forged;
	unsigned date, message_id, from, sender, bcc, resent_bcc, return_path;
	struct str id;
};

struct out {
	struct arena *a;
	struct head_result *r;
	bool failed;
};

static void add(struct out *o, struct str text)
{
	struct err e = { 0 };

	if (o->r->n_edits == EDITS_MAX || mail_edit_check(text, &e) < 0) {
		o->failed = true;
		return;
	}
	o->r->edits[o->r->n_edits++] = text;
}

static void look_at(const struct mail_field *f, const struct head_facts *facts, struct seen *s, struct out *o)
{
	static const struct {
		const char *name;
		size_t flag;
	} flags[] = {
		{ "Date", offsetof(struct seen, date) },
		{ "From", offsetof(struct seen, from) },
		{ "Sender", offsetof(struct seen, sender) },
		{ "Bcc", offsetof(struct seen, bcc) },
		{ "Resent-Bcc", offsetof(struct seen, resent_bcc) },
		{ "Return-Path", offsetof(struct seen, return_path) },
	};

	if (str_case_eq(f->name, STR("Received"))) {
		s->received++;
	} else if (str_case_eq(f->name, STR("Message-ID"))) {
		if (!s->message_id)
			s->id = str_trim(mail_unfold(o->a, f->value));
		s->message_id++;
	} else if (str_case_eq(f->name, STR("Authentication-Results"))) {
		s->results++;
		if (mail_results_claim(o->a, f->value, facts->hostname) && s->forged++ < FORGED_MAX)
			add(o, str_c(arena_printf(o->a, "-Authentication-Results#%u", s->results)));
	}
	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		if (str_case_eq(f->name, str_c(flags[i].name)))
			++*(unsigned *)(void *)((char *)s + flags[i].flag);
}

/* Text from the client inside a comment of Received: no brackets, no controls, nothing that ends the comment. */
static void put_clean(struct buf *b, struct str s, size_t max)
{
	struct buf n;

	buf_init(&n, 2 * max + 8);
	text_neutral(&n, s, max, true);
	for (size_t i = 0; i < n.n; i++)
		if (n.p[i] == '(' || n.p[i] == ')' || n.p[i] == '\\' || n.p[i] == ';' || n.p[i] == '<' || n.p[i] == '>' || n.p[i] == ' ')
			n.p[i] = '?';
	buf_str(b, buf_view(&n));
	buf_fini(&n);
}

/* RFC 3848 and RFC 6531 4.3: the "with" of Received. */
static void put_protocol(const struct head_facts *f, struct buf *b)
{
	buf_c(b, f->lmtp ? "LMTP" : f->utf8 ? "UTF8SMTP" : f->esmtp ? "ESMTP" : "SMTP");
	if (!f->esmtp)
		return;
	if (f->tls.n > 0)
		buf_ch(b, 'S');
	if (f->user.n > 0)
		buf_ch(b, 'A');
}

static void put_by(const struct head_facts *f, struct buf *b, const char *start)
{
	if (f->name_user && f->user.n > 0) {
		buf_c(b, start);
		buf_c(b, "(Authenticated sender: ");
		put_clean(b, f->user, 255);
		buf_c(b, ")");
		start = "\n\t";
	}
	buf_printf(b, "%sby %s (%s) with ", start, f->hostname, f->mail_name);
	put_protocol(f, b);
	buf_printf(b, " id %.*s", STR_ARG(f->qid));
	if (f->recipient.n > 0) {
		buf_c(b, "\n\tfor <");
		put_clean(b, f->recipient, 512);
		buf_c(b, ">");
	}
	buf_c(b, "; ");
	mail_date_format(f->now, 0, b);
	buf_c(b, " (UTC)");
}

static void put_received(const struct head_facts *f, struct buf *b)
{
	if (f->hide_client && f->user.n > 0) {
		/* RFC 5321 4.4 lets a submission's trace say less (RFC 6409 8.1 and 9: privacy of the sender). */
		buf_c(b, "+Received:");
		put_by(f, b, " ");
		return;
	}
	buf_c(b, "+Received: from ");
	if (f->helo.n > 0)
		put_clean(b, f->helo, 255);
	else
		buf_c(b, "unknown");
	if (str_eq(f->client, STR("local"))) {
		buf_c(b, " (local)");
	} else {
		const bool v6 = str_chr(f->client, ':') >= 0;
		buf_c(b, " (");
		put_clean(b, f->client_name.n > 0 ? f->client_name : STR("unknown"), 255);
		buf_printf(b, " [%s", v6 ? "IPv6:" : "");
		put_clean(b, f->client, 64);
		buf_c(b, "])");
	}
	if (f->tls.n > 0) {
		buf_c(b, "\n\t(using ");
		struct buf n;
		buf_init(&n, 512);
		text_neutral(&n, f->tls, 128, true);
		for (size_t i = 0; i < n.n; i++)
			if (n.p[i] == '\\')
				n.p[i] = '?';
		buf_str(b, buf_view(&n));
		buf_fini(&n);
		buf_c(b, ")");
	}
	put_by(f, b, "\n\t");
}

static void add_buf(struct out *o, struct buf *b)
{
	if (buf_failed(b))
		o->failed = true;
	else
		add(o, arena_str(o->a, buf_view(b)));
	buf_reset(b);
}

/* What a mail program forgot (RFC 6409 8). */
static void add_missing(const struct head_facts *f, struct seen *s, struct out *o, struct buf *b)
{
	char stamp[32];
	struct tm tm;
	const time_t now = (time_t)f->now;

	if (!s->date) {
		buf_c(b, ">Date: ");
		mail_date_format(f->now, 0, b);
		add_buf(o, b);
	}
	if (!s->from && f->sender.n > 0) {
		buf_c(b, ">From: <");
		put_clean(b, f->sender, 512);
		buf_c(b, ">");
		add_buf(o, b);
	}
	if (!s->message_id) {
		if (gmtime_r(&now, &tm) == NULL || strftime(stamp, sizeof(stamp), "%Y%m%d%H%M%S", &tm) == 0)
			stamp[0] = '\0';
		s->id = str_c(arena_printf(o->a, "<%s.%.*s@%s>", stamp, STR_ARG(f->qid), f->hostname));
		add(o, str_c(arena_printf(o->a, ">Message-Id: %.*s", STR_ARG(s->id))));
	}
	if (!f->submission)
		return;
	/* Programs that add their own beside their library's. */
	if (s->date == 2)
		add(o, STR("-Date#2"));
	if (s->message_id == 2)
		add(o, STR("-Message-Id#2"));
}

int head_edits(struct arena *a, struct str head, const struct head_facts *f, struct head_result *out, struct err *e)
{
	struct head_result r = { .edits = ARENA_ARRAY(a, struct str, EDITS_MAX) };
	struct out o = { .a = a, .r = &r };
	struct seen s = { 0 };
	struct mail_field field;
	struct buf b;

	while (mail_field_next(&head, &field) == 0)
		look_at(&field, f, &s, &o);
	if (s.forged > FORGED_MAX) {	/* none of them stays: they go with all that others said */
		r.n_edits = 0;
		add(&o, STR("-Authentication-Results#0"));
	}
	buf_init(&b, VALUE_MAX);
	put_received(f, &b);
	add_buf(&o, &b);
	if (f->submission || f->complete)
		add_missing(f, &s, &o, &b);
	buf_fini(&b);
	if (s.return_path)
		add(&o, STR("-Return-Path#0"));
	if ((f->submission || f->own) && s.bcc)
		add(&o, STR("-Bcc#0"));
	if ((f->submission || f->own) && s.resent_bcc)
		add(&o, STR("-Resent-Bcc#0"));
	if (o.failed)
		return err_set(e, ERR_BUG, 0, "header edits");
	r.received = s.received;
	r.message_id = s.id;
	if (f->submission)
		r.twice = s.from > 1 ? "From" : s.sender > 1 ? "Sender" : s.date > 2 ? "Date" : s.message_id > 2 ? "Message-ID" : NULL;
	*out = r;
	return 0;
}
