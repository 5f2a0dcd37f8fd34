/* The milter protocol: filterd for other MTAs. It wants no answers asked for but the last, and where recipients have policies of their own to each of them: there one
 * that is one too many is refused, and not the message for all. It keeps the message as it comes, and turns the verdict into what a
 * milter may say at the end: header changes, a reply of its own, quarantine, discard, another recipient. */
#include "door.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "log/log.h"
#include "mail/head.h"
#include "milter_in.h"
#include "os/os.h"
#include "smtp/milter.h"

enum {
	OUR_ACTIONS = MA_ADDHDRS | MA_CHGHDRS | MA_QUARANTINE | MA_ADDRCPT | MA_DELRCPT,
	OUR_STEPS = MP_NO_UNKNOWN | MP_NO_DATA | MP_LEADSPC | MP_NR_CONN | MP_NR_HELO | MP_NR_MAIL | MP_NR_RCPT | MP_NR_HDR | MP_NR_EOH | MP_NR_BODY,
	LISTS_MAX = FILTER_LISTS_MAX + FILTER_LISTS_COPIES,	/* of attachments: nobody comes after RCPT */
};

struct milter {
	uint32_t actions, protocol;	/* agreed */
	bool agreed, headed;		/* headed: the empty line after the header is written */
	bool held_cr;			/* a CR came last: it may be half of a line end */
	struct arena *of_conn, *of_mail;
	struct str addr, helo;		/* of_conn */
	struct str qid, user, sender;	/* of_mail */
	struct str *rcpts;
	size_t n_rcpts;
	bool more_rcpts;	/* than that */
	uint64_t n_lists;	/* of attachments, that the first list_rcpts of them have */
	size_t list_rcpts;
};

static void say(struct door_conn *c, char command, struct str data)
{
	struct buf b;
	buf_init(&b, MILTER_PACKET_MAX + 8);
	milter_put(&b, command, data);
	conn_write(c->conn, buf_view(&b));
	buf_fini(&b);
}

static void forget_recipients(struct milter *m)
{
	m->n_rcpts = m->list_rcpts = 0;
	m->n_lists = 0;
	m->more_rcpts = false;
}

static void reset(struct door_conn *c)
{
	struct milter *m = c->state;
	arena_reset(m->of_mail);
	m->qid = m->user = m->sender = STR("");
	m->rcpts = ARENA_ARRAY(m->of_mail, struct str, DOOR_RECIPIENTS_MAX);
	forget_recipients(m);
	m->headed = m->held_cr = false;
	door_message_reset(c);
}

static void on_begin(struct door_conn *c)
{
	struct milter *m = c->state;
	m->of_conn = arena_new(1 << 20);
	m->of_mail = arena_new(4 << 20);
	m->addr = m->helo = STR("");
	reset(c);
}

static void on_end(struct door_conn *c)
{
	struct milter *m = c->state;
	arena_free(&m->of_conn);
	arena_free(&m->of_mail);
}

static struct str keep(struct arena *a, struct str s)
{
	const char *p = arena_cstr(a, str_sub(s, 0, 1000));
	return str_c(p == NULL ? "" : p);
}

static struct str address(struct arena *a, struct str s)
{
	if (s.n >= 2 && s.p[0] == '<' && s.p[s.n - 1] == '>')
		s = str_sub(s, 1, s.n - 2);
	return keep(a, s);
}

/* Text with LF for CRLF: what the filter sees is the same whoever asks. */
static void add_text(struct door_conn *c, struct str s)
{
	struct milter *m = c->state;
	size_t from = 0;
	if (m->held_cr && (s.n == 0 || s.p[0] != '\n'))
		door_message_add(c, STR("\r"));
	m->held_cr = false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] != '\r' || (i + 1 < s.n && s.p[i + 1] != '\n'))
			continue;
		door_message_add(c, str_sub(s, from, i - from));
		from = i + 1;
		m->held_cr = i + 1 == s.n;
	}
	door_message_add(c, str_from(s, from));
}

static void end_head(struct door_conn *c)
{
	struct milter *m = c->state;
	if (!m->headed)
		door_message_add(c, STR("\n"));
	m->headed = true;
}

/* --- the verdict --- */

static void change(struct door_conn *c, char command, uint32_t index, struct str name, struct str value)
{
	struct milter *m = c->state;
	struct buf b;
	if (!(m->actions & (command == 'h' ? MA_ADDHDRS : MA_CHGHDRS)))
		return;
	buf_init(&b, MILTER_PACKET_MAX);
	if (command != 'h')
		buf_mem(&b, (const char[4]){ (char)(index >> 24), (char)(index >> 16), (char)(index >> 8), (char)index }, 4);
	buf_str(&b, name);
	buf_ch(&b, '\0');
	if ((m->protocol & MP_LEADSPC) && value.n > 0)
		buf_ch(&b, ' ');
	buf_str(&b, value);
	buf_ch(&b, '\0');
	if (!buf_failed(&b))
		say(c, command, buf_view(&b));
	buf_fini(&b);
}

static uint32_t count_fields(const struct door_conn *c, struct str name)
{
	struct mail_field f;
	uint32_t n = 0;
	for (struct str rest = buf_view(&c->head); mail_field_next(&rest, &f) == 0;)
		n += str_case_eq(f.name, name);
	return n;
}

/* "-Name#K" and "=Name#K: value" */
static void change_nth(struct door_conn *c, struct str edit, bool remove)
{
	struct str rest = edit, value = STR("");
	const struct str name = str_split(&rest, '#');
	struct str number = rest;
	uint64_t k = 0;
	if (!remove) {
		value = rest;
		number = str_split(&value, ':');
		value = str_trim(value);
	}
	if (num_parse(number, 0, UINT32_MAX, &k) < 0)
		return;
	const uint32_t there = count_fields(c, name);
	if (!remove && (k == 0 || k > there)) {
		change(c, 'h', 0, name, value);
	} else if (k > 0) {
		change(c, 'm', (uint32_t)k, name, value);
	} else {
		for (uint32_t i = there; i > 0; i--)
			change(c, 'm', i, name, STR(""));
	}
}

static void put_edit(struct door_conn *c, struct str edit)
{
	struct str value = str_from(edit, 1);
	if (edit.n < 2)
		return;
	if (edit.p[0] == '-' || edit.p[0] == '=') {
		change_nth(c, value, edit.p[0] == '-');
		return;
	}
	const struct str name = str_split(&value, ':');
	if (edit.p[0] == '+')
		change(c, 'i', 0, name, str_trim(value));
	else if (edit.p[0] == '>')
		change(c, 'h', 0, name, str_trim(value));
}

static void put_address(struct door_conn *c, char command, struct str a)
{
	struct buf b;
	buf_init(&b, 2000);
	buf_printf(&b, "<%.*s>", STR_ARG(a));
	buf_ch(&b, '\0');
	say(c, command, buf_view(&b));
	buf_fini(&b);
}

/* A reply of our own: a percent sign is doubled. */
static void put_reply(struct door_conn *c, const struct ipc_filter_VERDICT *v)
{
	struct buf b;
	buf_init(&b, 2000);
	buf_printf(&b, "%llu %.*s ", (unsigned long long)v->code, STR_ARG(v->enhanced));
	for (size_t i = 0; i < v->text.n; i++) {
		if (v->text.p[i] == '%')
			buf_ch(&b, '%');
		buf_ch(&b, v->text.p[i]);
	}
	buf_ch(&b, '\0');
	say(c, 'y', buf_view(&b));
	buf_fini(&b);
}

static bool is(const struct ipc_filter_VERDICT *v, const char *action)
{
	return str_eq(v->action, str_c(action));
}

/* Those of one outcome leave the envelope. */
static void drop_recipients(struct door_conn *c, const struct ipc_filter_VERDICT *v)
{
	const struct milter *m = c->state;
	for (size_t i = 0; i < m->n_rcpts; i++)
		if (filter_outcome_has(v, i))
			put_address(c, '-', m->rcpts[i]);
}

static void put_quarantine(struct door_conn *c, const struct ipc_filter_VERDICT *v)
{
	struct buf b;
	buf_init(&b, 1000);
	buf_str(&b, v->log);
	buf_ch(&b, '\0');
	say(c, 'q', buf_view(&b));
	buf_fini(&b);
}

/* Results that somebody gave in our name go (RFC 8601 5), as queued takes them out of what comes through it: the last first, so that the numbers of the others stay. */
static void remove_forged(struct door_conn *c)
{
	const struct str results = STR("Authentication-Results");
	struct arena *a = arena_new(0);
	struct mail_field f;
	struct buf which;
	uint32_t n = 0;
	buf_init(&which, sizeof(n) * c->head.n / results.n + sizeof(n));
	for (struct str rest = buf_view(&c->head); mail_field_next(&rest, &f) == 0;)
		if (str_case_eq(f.name, results) && ++n > 0 && mail_results_claim(a, f.value, c->conf->myhostname))
			buf_mem(&which, (const char *)&n, sizeof(n));
	for (size_t i = which.n / sizeof(n); i-- > 0;) {
		memcpy(&n, which.p + i * sizeof(n), sizeof(n));
		change(c, 'm', n, results, STR(""));
	}
	buf_fini(&which);
	arena_free(&a);
}

static void put_edits(struct door_conn *c, const struct ipc_filter_VERDICT *v)
{
	remove_forged(c);
	for (size_t i = 0; i < v->edits.n; i++)
		put_edit(c, v->edits.v[i]);
}

static bool can_change_recipients(const struct milter *m)
{
	return (m->actions & (MA_ADDRCPT | MA_DELRCPT)) == (MA_ADDRCPT | MA_DELRCPT);
}

static void put_refusal(struct door_conn *c, const struct ipc_filter_VERDICT *v)
{
	if (v->code >= 400 && v->code <= 599 && v->text.n > 0)
		put_reply(c, v);
	else
		say(c, is(v, "tempfail") ? 't' : 'r', STR(""));
}

/* The same for all. */
static void put_verdict(struct door_conn *c, const struct ipc_filter_VERDICT *v)
{
	const struct milter *m = c->state;
	const bool quarantine = is(v, "quarantine"), redirect = is(v, "redirect");
	const bool can = quarantine ? (m->actions & MA_QUARANTINE) != 0 : can_change_recipients(m);
	if (is(v, "discard")) {
		say(c, 'd', STR(""));
	} else if (is(v, "accept") || ((quarantine || redirect) && can)) {
		put_edits(c, v);
		if (quarantine)
			put_quarantine(c, v);
		if (redirect) {
			drop_recipients(c, v);
			put_address(c, '+', v->target);
		}
		say(c, 'c', STR(""));
	} else {
		put_refusal(c, v);
	}
}

/* --- recipients with policies of their own --- */

static const struct ipc_filter_VERDICT *first_that(const struct filter_outcomes *o, const char *action)
{
	for (size_t i = 0; i < o->n; i++)
		if (is(o->v[i], action))
			return o->v[i];
	return NULL;
}

static size_t marks(const struct ipc_filter_VERDICT *v)
{
	size_t n = 0;
	for (size_t i = 0; i < v->edits.n; i++)
		n += str_starts(v->edits.v[i], STR("+X-Spam-Flag: YES")) || str_starts(v->edits.v[i], STR("+X-Amavis-Alert:"));
	return n;
}

/* All get the same copy: with the marks of who is content with the fewest. */
static const struct ipc_filter_VERDICT *least_marked(const struct filter_outcomes *o)
{
	const struct ipc_filter_VERDICT *least = NULL;
	for (size_t i = 0; i < o->n; i++)
		if (is(o->v[i], "accept") && (least == NULL || marks(o->v[i]) < marks(least)))
			least = o->v[i];
	return least;
}

/* A milter can take recipients out, but has one message for the others, and holds all of it or nothing. What some want kept is held for all: nothing is lost, and
 * nobody gets what was to be kept from him. */
static void put_outcomes(struct door_conn *c, const struct filter_outcomes *o)
{
	const struct milter *m = c->state;
	const struct ipc_filter_VERDICT *least = least_marked(o), *held = first_that(o, "quarantine");
	if (!can_change_recipients(m) || (held != NULL && !(m->actions & MA_QUARANTINE))) {
		log_warning("milter: %s: recipients with policies of their own: the other side can take out no recipient, or hold no message", c->peer);
		say(c, 't', STR(""));
		return;
	}
	if (least == NULL && held == NULL && first_that(o, "redirect") == NULL && first_that(o, "discard") == NULL) {
		put_refusal(c, o->v[0]);
		return;
	}
	if (least != NULL || held != NULL)
		put_edits(c, least != NULL ? least : held);
	if (held != NULL)
		put_quarantine(c, held);
	size_t left = 0;
	for (size_t i = 0; i < o->n; i++) {
		if (is(o->v[i], "accept") || is(o->v[i], "quarantine")) {
			left++;
			continue;
		}
		drop_recipients(c, o->v[i]);
		if (is(o->v[i], "redirect")) {
			put_address(c, '+', o->v[i]->target);
			left++;
		}
	}
	say(c, left == 0 ? 'd' : 'c', STR(""));
}

static void on_verdict(struct door_conn *c, const struct filter_outcomes *o)
{
	if (o == NULL)
		say(c, 't', STR(""));
	else if (o->n == 1)
		put_verdict(c, o->v[0]);
	else
		put_outcomes(c, o);
	reset(c);
}

static bool is_own(const struct door_conn *c)
{
	const struct milter *m = c->state;
	uint8_t addr[16];
	return m->user.n > 0 || (addr_parse(m->addr, addr) == 0 && conf_networks_have(c->conf->mynetworks, addr));
}

static bool has_policies(const struct door_conn *c)
{
	return c->conf->filter_recipient_policies[0] != '\0';
}

static void ask(struct door_conn *c)
{
	const struct milter *m = c->state;
	struct ipc_filter_SCAN q = { .qid = str_sub(m->qid, 0, 32), .sender = m->sender, .recipients = { m->rcpts, m->n_rcpts }, .client = str_sub(m->addr, 0, 64),
				     .helo = str_sub(m->helo, 0, 512), .own = is_own(c), .user = str_sub(m->user, 0, 255) };
	const bool unknown = m->more_rcpts && has_policies(c);	/* what they want is not asked */
	if (!c->full && !unknown) {
		door_ask(c, &q);
		return;
	}
	say(c, 't', STR(""));
	reset(c);
}

/* --- commands --- */

static int agree(struct door_conn *c, const struct milter_command *x, struct err *e)
{
	struct milter *m = c->state;
	char b[12];
	if (m->agreed || x->version < MILTER_VERSION_MIN)
		return err_set(e, ERR_INPUT, 0, "options twice, or of version %u", x->version);
	const uint32_t version = x->version < MILTER_VERSION ? x->version : MILTER_VERSION;
	m->agreed = true;
	m->actions = x->actions & OUR_ACTIONS;
	m->protocol = x->protocol & OUR_STEPS & ~(has_policies(c) ? (uint32_t)MP_NR_RCPT : 0);
	const uint32_t v[3] = { version, m->actions, m->protocol };
	for (size_t i = 0; i < 12; i++)
		b[i] = (char)(v[i / 4] >> (24 - 8 * (i % 4)));
	say(c, 'O', str_n(b, 12));
	return 0;
}

static void macros(struct milter *m, const struct milter_command *x)
{
	const struct str qid = milter_macro(x, "i"), user = milter_macro(x, "auth_authen");
	if (qid.n > 0)
		m->qid = keep(m->of_mail, qid);
	if (user.n > 0)
		m->user = keep(m->of_mail, user);
}

static void header(struct door_conn *c, const struct milter_command *x)
{
	const struct milter *m = c->state;
	door_message_add(c, x->v[0]);
	door_message_add(c, (m->protocol & MP_LEADSPC) ? STR(":") : STR(": "));
	add_text(c, x->v[1]);
	door_message_add(c, STR("\n"));
}

/* Is it answered although nothing is to be said? */
static bool wants_answer(const struct milter *m, char command)
{
	static const struct { char command; uint32_t silent; } rows[] = {
		{ 'C', MP_NR_CONN }, { 'H', MP_NR_HELO }, { 'M', MP_NR_MAIL }, { 'R', MP_NR_RCPT }, { 'T', MP_NR_DATA }, { 'L', MP_NR_HDR },
		{ 'N', MP_NR_EOH }, { 'B', MP_NR_BODY }, { 'U', MP_NR_UNKN },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].command == command)
			return !(m->protocol & rows[i].silent);
	return false;
}

/* --- recipients --- */

static void answer_rcpt(struct door_conn *c, bool taken)
{
	const struct milter *m = c->state;
	const struct ipc_filter_VERDICT refusal = { .code = 452, .enhanced = STR("4.5.3"), .text = STR("Error: too many recipients with policies of their own") };
	if (!wants_answer(m, 'R'))
		return;
	if (taken)
		say(c, 'c', STR(""));
	else
		put_reply(c, &refusal);
}

static void on_counted(struct door_conn *c, uint64_t lists)
{
	struct milter *m = c->state;
	const bool full = lists > LISTS_MAX;
	if (full) {
		m->n_rcpts--;
	} else if (lists > 0) {
		m->n_lists = lists;
		m->list_rcpts = m->n_rcpts;
	}
	answer_rcpt(c, !full);
}

/* Each recipient more has one list more at most: mostly there is nothing to ask. */
static void recipient(struct door_conn *c, struct str rcpt)
{
	struct milter *m = c->state;
	const bool answered = has_policies(c) && wants_answer(m, 'R');
	if (m->n_rcpts == DOOR_RECIPIENTS_MAX) {
		m->more_rcpts |= !answered;
		answer_rcpt(c, !answered);
		return;
	}
	m->rcpts[m->n_rcpts++] = address(m->of_mail, rcpt);
	const struct ipc_filter_LISTS q = { .recipients = { m->rcpts, m->n_rcpts }, .user = str_sub(m->user, 0, 255), .own = is_own(c) };
	if (!answered || m->n_lists + (m->n_rcpts - m->list_rcpts) <= LISTS_MAX || !door_count(c, &q))
		answer_rcpt(c, true);
}

/* 1: the connection ends. */
static int take(struct door_conn *c, const struct milter_command *x, struct err *e)
{
	struct milter *m = c->state;
	if (!m->agreed && x->command != 'O')
		return err_set(e, ERR_INPUT, 0, "command %c before options", x->command);
	switch (x->command) {
	case 'O':
		return agree(c, x, e);
	case 'C':
		arena_reset(m->of_conn);
		m->helo = STR("");
		m->addr = x->family == '4' || x->family == '6' ? keep(m->of_conn, str_case_starts(x->v[1], STR("IPv6:")) ? str_from(x->v[1], 5) : x->v[1]) : STR("local");
		break;
	case 'H':
		m->helo = keep(m->of_conn, x->v[0]);
		break;
	case 'M':
		door_message_reset(c);
		m->n_rcpts = 0;
		m->more_rcpts = false;
		m->sender = address(m->of_mail, x->v[0]);
		break;
	case 'R':
		recipient(c, x->v[0]);
		return 0;
	case 'D':
		macros(m, x);
		break;
	case 'L':
		header(c, x);
		break;
	case 'N':
		end_head(c);
		break;
	case 'B': case 'E':
		end_head(c);
		add_text(c, x->bytes);
		break;
	case 'A': case 'K':
		reset(c);
		break;
	case 'Q':
		return 1;
	default:
		break;
	}
	if (wants_answer(m, x->command))
		say(c, 'c', STR(""));
	if (x->command == 'E')
		ask(c);
	return 0;
}

static void on_data(struct door_conn *c)
{
	while (c->conn != NULL && c->asked == 0) {
		struct milter_command x;
		struct str data;
		struct err e = { 0 };
		char command;
		size_t used = 0;
		int r = milter_packet_get(conn_input(c->conn), &command, &data, &used, &e);
		if (r > 0)
			return;
		if (r == 0)
			r = milter_command_get(command, data, &x, &e);
		if (r == 0)
			r = take(c, &x, &e);
		if (r == 0) {
			conn_consume(c->conn, used);
			continue;
		}
		if (r < 0)
			log_warning("milter: %s: %s", c->peer, e.text);
		door_close(c);
	}
}

const struct door_protocol milter_door = { .name = "milter", .state_size = sizeof(struct milter), .begin = on_begin, .data = on_data, .verdict = on_verdict, .counted = on_counted,
					    .end = on_end };
