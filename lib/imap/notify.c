/* The grammar of NOTIFY (RFC 5465 section 8), and which combinations of events make sense (section 5). */
#include "imap/notify.h"

static const char *const names[IMAP_EVENT_MAX_] = {
#define NOTIFY_EVENT(id, name, source) [IMAP_EVENT_##id] = name,
#include "imap/notify.def"
#undef NOTIFY_EVENT
};

void imap_put_events(struct buf *out)
{
	for (unsigned i = 0; i < IMAP_EVENT_MAX_; i++) {
		buf_ch(out, i ? ' ' : '(');
		buf_c(out, names[i]);
	}
	buf_ch(out, ')');
}

/* An event, with the items of MessageNew. Unknown ones set bad_event. */
static int get_event(struct imap_lex *l, struct imap_notify *out, struct imap_event_group *g, struct err *e)
{
	struct str word;

	if (imap_get_atom(l, &word, e) < 0)
		return -1;
	for (unsigned i = 0; i < IMAP_EVENT_MAX_; i++) {
		if (!str_case_eq(word, str_c(names[i])))
			continue;
		g->events |= 1u << i;
		if (i != IMAP_EVENT_MESSAGENEW || l->end - l->p < 2 || l->p[0] != ' ' || l->p[1] != '(')
			return 0;
		l->p++;
		g->has_fetch = true;
		return imap_get_fetch(l, &g->fetch, e);
	}
	out->bad_event = true;
	return 0;
}

static bool about_selected(const struct imap_event_group *g)
{
	return g->boxes.kind == IMAP_MBOXES_SELECTED || g->boxes.kind == IMAP_MBOXES_SELECTED_DELAYED;
}

/* Section 5: flags go with new messages and expunges, and in the selected mailbox these go together: its numbers would be wrong otherwise. Of others one alone may be
 * wanted, as in the examples of section 3.1. Items only for the selected mailbox. */
static int check(const struct imap_event_group *g, struct err *e)
{
	const bool new = g->events & EVENT_BIT(MESSAGENEW), expunge = g->events & EVENT_BIT(MESSAGEEXPUNGE);

	if (new != expunge && about_selected(g))
		return err_set(e, ERR_INPUT, 0, "MessageNew and MessageExpunge of the selected mailbox go together");
	if ((g->events & EVENT_BIT(FLAGCHANGE)) && !(new && expunge))
		return err_set(e, ERR_INPUT, 0, "FlagChange goes with MessageNew and MessageExpunge");
	if (g->has_fetch && !about_selected(g))
		return err_set(e, ERR_INPUT, 0, "FETCH items are for the selected mailbox");
	if (about_selected(g) && (g->events & ~(unsigned)IMAP_MESSAGE_EVENTS))
		return err_set(e, ERR_INPUT, 0, "not an event of the selected mailbox");
	return 0;
}

static int get_group(struct imap_lex *l, struct imap_notify *out, struct imap_event_group *g, struct err *e)
{
	if (imap_get_char(l, '(', e) < 0 || imap_get_mboxes(l, &g->boxes, e) < 0 || imap_get_sp(l, e) < 0)
		return -1;
	if (g->boxes.kind == IMAP_MBOXES_SUBTREE_ONE)	/* RFC 7377's own */
		return err_set(e, ERR_INPUT, 0, "unknown mailbox filter");
	const char *const from = l->p;

	if (!imap_try_word(l, "NONE")) {
		if (imap_get_char(l, '(', e) < 0)
			return -1;
		do {
			while (imap_try(l, ' '))
				;
			if (get_event(l, out, g, e) < 0)
				return -1;
		} while (imap_at(l, ' '));
		if (imap_get_char(l, ')', e) < 0)
			return -1;
	}
	g->text = str_n(from, (size_t)(l->p - from));
	if (!out->bad_event && check(g, e) < 0)
		return -1;
	return imap_get_char(l, ')', e);
}

int imap_get_notify(struct imap_lex *l, struct imap_notify *out, struct err *e)
{
	*out = (struct imap_notify){ 0 };
	if (imap_try_word(l, "NONE")) {
		out->none = true;
		return 0;
	}
	if (!imap_try_word(l, "SET"))
		return err_set(e, ERR_INPUT, 0, "expected SET or NONE");
	if (imap_get_sp(l, e) < 0)
		return -1;
	if (imap_try_word(l, "STATUS")) {
		out->status = true;
		if (imap_get_sp(l, e) < 0)
			return -1;
	}
	if (!(out->v = ARENA_ARRAY(l->arena, struct imap_event_group, IMAP_EVENT_GROUPS_MAX)))
		return err_set(e, ERR_LIMIT, 0, "command needs too much memory");
	do {
		while (imap_try(l, ' '))
			;
		if (out->n == IMAP_EVENT_GROUPS_MAX)
			return err_set(e, ERR_LIMIT, 0, "too many event groups");
		if (get_group(l, out, &out->v[out->n++], e) < 0)
			return -1;
	} while (imap_at(l, ' '));
	return 0;
}
