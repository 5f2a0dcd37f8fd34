/* ESEARCH (RFC 7377): one search over several mailboxes, one after the other, each with an ESEARCH response of its own when something was found. Nothing
 * is selected by it, and new messages stay recent. Folders of others are searched by their owners' processes (others.c). */
#include "imap/mboxes.h"
#include "imap/out.h"
#include "opening.h"
#include "others.h"
#include "results.h"
#include "search.h"

enum { SOURCES_MAX = 100 };

struct multi {
	struct imap_search_return ret;
	struct str text;		/* charset and keys */
	struct others *others;		/* folders of others that are named; NULL: none */
	struct mbox_names names;
	size_t at;			/* the next mailbox; names.n: the selected one */
	/* the mailbox in progress */
	struct mbox *mbox;		/* NULL: none */
	struct mbox_view *view;
	struct mbox *opening;		/* the next one */
	bool own;			/* view is not the client's */
	struct matcher matcher;
	struct results results;
	struct answer answer;
	uint32_t next;
	bool answering;
};

static void mailbox_close(struct multi *m)
{
	if (!m->mbox)
		return;
	mbox_ahead_end(m->view);
	matcher_fini(&m->matcher);
	if (m->own)
		mbox_view_free(&m->view);
	mbox_close(&m->mbox);
}

static void cleanup(struct client *c)
{
	struct multi *m = c->run.data;

	mailbox_close(m);
	mbox_close(&m->opening);
}

struct resolving {
	struct client *c;
	struct mbox_view *view;
};

static int resolve(void *ctx, struct imap_seqset *set, bool uid, struct err *e)
{
	const struct resolving *r = ctx;

	if (!uid || set->saved)		/* they mean the selected mailbox's (RFC 7377 2.1) */
		return err_set(e, ERR_INPUT, 0, "message numbers in a search of several mailboxes");
	return set_uids(r->c, r->view, set, e);
}

static int parse(struct client *c, struct multi *m, struct err *e)
{
	struct imap_lex l = { .p = m->text.p, .end = m->text.p + m->text.n, .arena = c->arena };
	struct resolving r = { c, m->view };
	struct imap_search_key *keys;
	struct str charset;

	if (imap_get_search_charset(&l, &charset, e) < 0 || imap_get_search(&l, &keys, e) < 0 || imap_get_end(&l, e) < 0)
		return -1;
	return matcher_init(&m->matcher, c->arena, m->mbox, m->view, keys, resolve, &r, e);
}

/* " MAILBOX x UIDVALIDITY 1" */
static struct str correlator(struct client *c, const struct multi *m, struct str name)
{
	struct buf b;

	buf_init(&b, 8192);
	buf_c(&b, " MAILBOX ");
	client_put_mailbox(c, &b, name);
	buf_printf(&b, " UIDVALIDITY %u", mbox_uidvalidity(m->mbox));
	const struct str s = arena_str(c->arena, buf_view(&b));

	buf_fini(&b);
	return s;
}

/* Deleted meanwhile, or unreadable: skipped; or not open yet (m->mbox stays NULL). -1: the search itself is wrong. */
static int mailbox_open(struct client *c, struct multi *m, struct err *e)
{
	struct err quiet = { 0 };
	const struct str name = m->at < m->names.n ? m->names.v[m->at] : c->folder->name;

	if (opening_step(c, name, &m->opening, &quiet) > 0)
		return 0;
	m->at++;
	if (mbox_open(c->user->store, name, &m->mbox, &quiet) < 0)
		m->mbox = NULL;
	mbox_close(&m->opening);
	if (!m->mbox)
		return 0;
	m->own = !c->folder || c->folder->mbox != m->mbox;
	m->view = m->own ? mbox_view_peek(m->mbox) : c->view;
	if (m->own)
		mbox_view_reader(m->view, client_reader(c));
	if (parse(c, m, e) < 0 || results_init(&m->results, c->arena, RESULTS_FEW, m->ret.what & IMAP_RETURN_RELEVANCY, m->matcher.uses_modseq, e) < 0)
		return -1;
	m->answer = (struct answer){ .r = &m->results, .ret = m->ret, .uid = true, .correlator = correlator(c, m, name) };
	mbox_ahead_begin(m->view, MATCHER_AHEAD, matcher_ahead, &m->matcher);
	m->next = 1;
	m->answering = false;
	return 0;
}

static void look(struct client *c, struct multi *m)
{
	const uint32_t count = mbox_view_count(m->view);

	if (!matcher_ready(&m->matcher))
		return;
	for (unsigned n = 0; n < 32 && m->next <= count; n++) {
		const uint32_t seq = matcher_next(&m->matcher, m->next);

		c->run.done += (seq ? seq : count) + 1 - m->next;
		m->next = seq ? seq + 1 : count + 1;
		if (!seq)
			break;
		if (matcher_test(&m->matcher, seq))
			results_add(&m->results, mbox_view_uid(m->view, seq), m->matcher.score, m->matcher.msg.modseq);
		if (m->matcher.opened)
			break;
	}
	m->answering = m->next > count;
}

static enum cmd_result step(struct client *c, struct err *e)
{
	struct multi *m = c->run.data;

	if (!m->mbox) {
		if (m->at > m->names.n || (m->at == m->names.n && (!m->names.selected || !c->folder)))
			return CMD_OK;
		return mailbox_open(c, m, e) < 0 ? CMD_BAD : CMD_MORE;
	}
	if (!m->answering)
		look(c, m);
	else if (m->results.n == 0 || answer_step(c, &m->answer))
		mailbox_close(m);
	return CMD_MORE;
}

/* "IN" SP "(" filter *(SP filter) [SP "(" scope-options ")"] ")" SP. There are no scope options yet (RFC 7377 2.2). */
static enum cmd_result get_sources(struct client *c, struct imap_lex *l, struct multi *m, struct err *e)
{
	struct imap_mboxes f;
	enum cmd_result r = CMD_OK;
	unsigned n = 0;

	if (!imap_try_word(l, "IN")) {
		m->names.selected = true;
		return CMD_OK;
	}
	if (imap_get_sp(l, e) < 0 || imap_get_char(l, '(', e) < 0)
		return CMD_BAD;
	do {
		while (imap_try(l, ' '))
			;
		if (n++ == SOURCES_MAX)
			return err_set(e, ERR_LIMIT, 0, "too many sources"), CMD_BAD;
		if (imap_get_mboxes(l, &f, e) < 0)
			return CMD_BAD;
		enum cmd_result one = others_take(c, &m->others, &f, e);

		if (one == CMD_OK)
			one = mboxes_expand(c, &f, &m->names, e);
		r = r == CMD_OK ? one : r;
	} while (imap_at(l, ' '));
	if (imap_get_char(l, ')', e) < 0 || imap_get_sp(l, e) < 0)
		return CMD_BAD;
	return r;
}

/* Others have answered: now the client's own. */
static void with_others(struct client *c)
{
	c->run.step = step;
	command_step(c);
}

/* CMD_OK: it can begin; rest is its text behind the sources. */
static enum cmd_result get_command(struct client *c, struct imap_lex *l, struct multi *m, struct str *rest, struct err *e)
{
	struct imap_search_key *keys;
	struct str charset;

	if (imap_get_sp(l, e) < 0)
		return CMD_BAD;
	const enum cmd_result r = get_sources(c, l, m, e);

	*rest = str_n(l->p, (size_t)(l->end - l->p));
	if (r == CMD_BAD || imap_get_search_return(l, &m->ret, e) < 0)
		return CMD_BAD;
	if (!m->ret.given)
		m->ret = (struct imap_search_return){ .given = true, .what = IMAP_RETURN_ALL };
	if (m->ret.what & (IMAP_RETURN_SAVE | IMAP_RETURN_UPDATE))	/* what these keep belongs to one mailbox */
		return err_set(e, ERR_INPUT, 0, "SAVE and UPDATE belong to SEARCH"), CMD_BAD;
	m->text = str_n(l->p, (size_t)(l->end - l->p));
	if (imap_get_search_charset(l, &charset, e) < 0 || imap_get_search(l, &keys, e) < 0 || imap_get_end(l, e) < 0)
		return CMD_BAD;
	if (r != CMD_OK)
		return r;
	if (charset.p && !str_case_eq(charset, STR("UTF-8")) && !str_case_eq(charset, STR("US-ASCII")))
		return command_answer(c, "NO", "BADCHARSET (US-ASCII UTF-8)", "Unknown charset.");
	return CMD_OK;
}

enum cmd_result cmd_ESEARCH(struct client *c, struct imap_lex *l, struct err *e)
{
	struct multi *m = ARENA_NEW(c->arena, struct multi);
	struct str rest;
	const enum cmd_result r = get_command(c, l, m, &rest, e);

	if (r != CMD_OK) {
		others_drop(&m->others);
		return r;
	}
	c->run.data = m;
	c->run.cleanup = cleanup;
	if (m->others) {
		others_search(c, m->others, rest, with_others);
		return CMD_AWAY;
	}
	c->run.step = step;
	return CMD_MORE;
}
