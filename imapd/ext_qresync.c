/* Mod-sequences and quick resynchronisation (RFC 7162): the parameters of SELECT, what has vanished since a client's last visit, and the answer to
 * QRESYNC in slices. The log of expunges is the store's; it is bounded, and beyond it every UID without a message counts as vanished. */
#include <stdio.h>

#include "session.h"

enum { QRESYNC_BATCH = 256 };

/* The first use of a mod-sequence tells where the folder stands (RFC 7162 3.1). */
void condstore_enable(struct client *c)
{
	struct mbox_status st;
	struct err quiet = { 0 };

	if ((c->enabled & EN_CONDSTORE) == 0 && c->folder && mbox_status(c->folder->mbox, &st, &quiet) == 0)
		resp_untagged(c, "OK [HIGHESTMODSEQ %llu] Highest", (unsigned long long)st.highestmodseq);
	c->enabled |= EN_CONDSTORE;
}

const char *highestmodseq_code(struct client *c)
{
	struct mbox_status st;
	struct err quiet = { 0 };

	if ((c->enabled & EN_CONDSTORE) == 0 || !c->folder || mbox_status(c->folder->mbox, &st, &quiet) < 0)
		return "";
	const char *code = arena_printf(c->arena, "HIGHESTMODSEQ %llu", (unsigned long long)st.highestmodseq);

	return code ? code : "";
}

/* --- arguments --- */

/* Both sets of "(" seqs SP uids ")": a help for servers without a log. Checked, not used. */
static int get_match_data(struct imap_lex *l, struct err *e)
{
	struct imap_seqset seqs, uids;

	if (imap_get_sp(l, e) < 0 || imap_get_char(l, '(', e) < 0 || imap_get_seqset(l, &seqs, e) < 0 || imap_get_sp(l, e) < 0 ||
	    imap_get_seqset(l, &uids, e) < 0 || imap_get_char(l, ')', e) < 0)
		return -1;
	return 0;
}

static int get_qresync(struct imap_lex *l, struct select_params *p, struct err *e)
{
	if (imap_get_sp(l, e) < 0 || imap_get_char(l, '(', e) < 0 || imap_get_number(l, 1, UINT32_MAX, &p->uidvalidity, e) < 0 ||
	    imap_get_sp(l, e) < 0 || imap_get_number(l, 1, INT64_MAX, &p->modseq, e) < 0)
		return -1;
	if (imap_at(l, ' ') && l->p + 1 < l->end && l->p[1] != '(') {
		if (imap_get_sp(l, e) < 0 || imap_get_seqset(l, &p->known, e) < 0)
			return -1;
		if (p->known.saved)
			return err_set(e, ERR_INPUT, 0, "known UIDs must be numbers");
		p->has_known = true;
	}
	if (imap_at(l, ' ') && get_match_data(l, e) < 0)
		return -1;
	p->qresync = true;
	return imap_get_char(l, ')', e);
}

int select_params_get(struct client *c, struct imap_lex *l, struct select_params *p, struct err *e)
{
	if (!imap_at(l, ' '))
		return 0;
	if (imap_get_sp(l, e) < 0 || imap_get_char(l, '(', e) < 0)
		return -1;
	do {
		while (imap_try(l, ' '))
			;
		if (imap_try_word(l, "CONDSTORE"))
			p->condstore = true;
		else if (!imap_try_word(l, "QRESYNC") || get_qresync(l, p, e) < 0)
			return err_set(e, ERR_INPUT, 0, "unknown or malformed parameter");
	} while (imap_at(l, ' '));
	if (imap_get_char(l, ')', e) < 0)
		return -1;
	if (p->qresync && !(c->enabled & EN_QRESYNC))
		return err_set(e, ERR_INPUT, 0, "QRESYNC is not enabled");
	return 0;
}

/* --- what has vanished --- */

static int add_range(struct client *c, struct imap_seqset *s, uint32_t lo, uint32_t hi, struct err *e)
{
	if (lo > hi)
		return 0;
	if (imap_seqset_add(c->arena, s, lo) < 0)
		return err_set(e, ERR_LIMIT, 0, "too many ranges of UIDs");
	if (hi > s->v[s->n - 1].hi)
		s->v[s->n - 1].hi = hi;
	return 0;
}

/* All UIDs up to the last one given out that have no message in this view. */
static int gaps(struct client *c, struct imap_seqset *out, struct err *e)
{
	const uint32_t count = mbox_view_count(c->view);
	struct mbox_status st;
	uint32_t next = 1;

	if (mbox_status(c->folder->mbox, &st, e) < 0)
		return -1;
	for (uint32_t seq = 1; seq <= count; seq++) {
		const uint32_t uid = mbox_view_uid(c->view, seq);

		if (uid > next && add_range(c, out, next, uid - 1, e) < 0)
			return -1;
		next = uid + 1;
	}
	return add_range(c, out, next, st.uidnext - 1, e);
}

static int gone_since(struct client *c, uint64_t since, struct imap_seqset *out, struct err *e)
{
	struct mbox_range *r;
	size_t n;

	if (mbox_vanished(c->folder->mbox, since, c->arena, &r, &n) != 0)
		return gaps(c, out, e);
	out->v = ARENA_ARRAY(c->arena, struct imap_range, n + 1);
	if (!out->v)
		return err_set(e, ERR_LIMIT, 0, "too many ranges of UIDs");
	out->cap = n + 1;
	for (size_t i = 0; i < n; i++)
		out->v[out->n++] = (struct imap_range){ r[i].first, r[i].last };
	imap_seqset_resolve(out, 0);
	return 0;
}

/* What two resolved sets have in common. */
static int intersect(struct client *c, const struct imap_seqset *a, const struct imap_seqset *b, struct imap_seqset *out, struct err *e)
{
	for (size_t i = 0, k = 0; i < a->n && k < b->n;) {
		const uint32_t lo = a->v[i].lo > b->v[k].lo ? a->v[i].lo : b->v[k].lo, hi = a->v[i].hi < b->v[k].hi ? a->v[i].hi : b->v[k].hi;

		if (add_range(c, out, lo, hi, e) < 0)
			return -1;
		if (a->v[i].hi < b->v[k].hi)
			i++;
		else
			k++;
	}
	return 0;
}

int vanished_earlier(struct client *c, uint64_t since, const struct imap_seqset *known, struct err *e)
{
	struct imap_seqset gone = { 0 }, both = { 0 };
	const struct imap_seqset *told = &gone;

	if (gone_since(c, since, &gone, e) < 0)
		return -1;
	if (known) {
		if (intersect(c, &gone, known, &both, e) < 0)
			return -1;
		told = &both;
	}
	if (told->n == 0)
		return 0;
	buf_c(resp(c), "* VANISHED (EARLIER) ");
	imap_seqset_format(told, resp(c));
	buf_c(resp(c), "\r\n");
	return 0;
}

/* --- SELECT … (QRESYNC …) --- */

struct qresync {
	struct select_params p;
	uint32_t next;
};

static enum cmd_result qresync_step(struct client *c, struct err *e)
{
	struct qresync *q = c->run.data;
	const uint32_t count = mbox_view_count(c->view);
	struct mbox_msg m;

	(void)e;
	for (unsigned n = 0; n < QRESYNC_BATCH && q->next <= count; n++, q->next++) {
		if (mbox_msg_get(c->view, q->next, &m, NULL) < 0 || m.modseq <= q->p.modseq ||
		    (q->p.has_known && !imap_seqset_has(&q->p.known, m.uid)))
			continue;
		resp_flags_response(c, q->next, &m);
	}
	if (q->next <= count)
		return CMD_MORE;
	return command_answer(c, "OK", c->readonly ? "READ-ONLY" : "READ-WRITE", "Select completed.");
}

enum cmd_result qresync_start(struct client *c, struct select_params *p, struct err *e)
{
	struct qresync *q = ARENA_NEW(c->arena, struct qresync);

	if (p->has_known)
		imap_seqset_resolve(&p->known, UINT32_MAX);
	if (vanished_earlier(c, p->modseq, p->has_known ? &p->known : NULL, e) < 0)
		return CMD_NO;
	q->p = *p;
	q->next = 1;
	c->run.data = q;
	c->run.step = qresync_step;
	return CMD_MORE;
}
