/* Keys are prepared for a walk: strings folded, sets resolved, those that cost little put first; and what kinds there are among them. */
#include "search_priv.h"

#include "base/enc.h"
#include "imap/fold.h"

enum { COST_INDEX = 0, COST_HEAD = 1000, COST_TEXT = 1000000 };

static unsigned cost_of(const struct imap_search_key *k)
{
	unsigned cost = COST_INDEX;

	switch (k->op) {
	case IMAP_SEARCH_AND:
	case IMAP_SEARCH_OR:
		for (const struct imap_search_key *s = k->sub; s; s = s->next)
			cost += cost_of(s) + 1;
		return cost;
	case IMAP_SEARCH_HEADER:
	case IMAP_SEARCH_SENTBEFORE:
	case IMAP_SEARCH_SENTON:
	case IMAP_SEARCH_SENTSINCE:
		return COST_HEAD;
	case IMAP_SEARCH_BODY:
	case IMAP_SEARCH_TEXT:
	case IMAP_SEARCH_EMAILID:
		return COST_TEXT;
	default:
		return COST_INDEX;
	}
}

/* Insertion sort of the sub-keys by cost; lists are short, and long ones are mostly in order. Costs of subtrees are summed once per level. */
static void order(struct imap_search_key *k)
{
	struct imap_search_key *lists[3] = { NULL }, **tails[3] = { &lists[0], &lists[1], &lists[2] };

	for (struct imap_search_key *s = k->sub, *next; s; s = next) {
		const unsigned cost = cost_of(s);
		const int level = cost >= COST_TEXT ? 2 : cost >= COST_HEAD ? 1 : 0;

		next = s->next;
		s->next = NULL;
		*tails[level] = s;
		tails[level] = &s->next;
	}
	*tails[0] = lists[1] ? lists[1] : lists[2];
	if (lists[1])
		*tails[1] = lists[2];
	k->sub = lists[0];
}

static int fold_text(const struct matcher_preparing *p, struct str *s)
{
	struct buf b;

	if (!utf8_valid(*s))
		return err_set(p->e, ERR_INPUT, 0, "search text is not valid in its charset");
	buf_init(&b, s->n * 4 + 16);
	imap_fold(*s, &b);
	*s = arena_str(p->m->arena, buf_view(&b));
	buf_fini(&b);
	return 0;
}

static int prepare(const struct matcher_preparing *p, struct imap_search_key *k)
{
	switch (k->op) {
	case IMAP_SEARCH_MODSEQ:
		p->m->uses_modseq = p->m->uses_flags = true;
		return 0;
	case IMAP_SEARCH_FLAG:
	case IMAP_SEARCH_KEYWORD:
		p->m->uses_flags = true;
		return 0;
	case IMAP_SEARCH_OLDER:
	case IMAP_SEARCH_YOUNGER:
	case IMAP_SEARCH_RECENT:
	case IMAP_SEARCH_NEW:
		p->m->passing = true;
		return 0;
	case IMAP_SEARCH_AND:
	case IMAP_SEARCH_OR:
		for (struct imap_search_key *s = k->sub; s; s = s->next) {
			s->fuzzy |= k->fuzzy;
			if (prepare(p, s) < 0)
				return -1;
		}
		order(k);
		return 0;
	case IMAP_SEARCH_SET:
	case IMAP_SEARCH_UID:
		p->m->passing |= k->set.saved;
		if (k->set.saved)	/* a saved result is UIDs */
			k->op = IMAP_SEARCH_UID;
		p->m->uses_numbers |= k->op == IMAP_SEARCH_SET;
		return p->resolve(p->ctx, &k->set, k->op == IMAP_SEARCH_UID, p->e);
	case IMAP_SEARCH_HEADER:
	case IMAP_SEARCH_BODY:
	case IMAP_SEARCH_TEXT:
		return fold_text(p, &k->text);
	default:
		return 0;
	}
}

static bool matches_all(const struct imap_search_key *k)
{
	if (k->negate || (k->op != IMAP_SEARCH_ALL && k->op != IMAP_SEARCH_AND))
		return false;
	for (const struct imap_search_key *s = k->sub; s; s = s->next) {
		if (!matches_all(s))
			return false;
	}
	return true;
}

int matcher_prepare(const struct matcher_preparing *p)
{
	p->m->all = matches_all(p->m->keys);
	return prepare(p, p->m->keys);
}
