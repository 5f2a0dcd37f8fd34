/* The parser of SEARCH keys (RFC 3501 section 9: search-key). Depth and number of keys are bounded. */
#include "imap/search.h"

enum arg { A_NONE, A_TEXT, A_FIELD_TEXT, A_ATOM, A_DATE, A_NUMBER, A_SET, A_KEY, A_TWO_KEYS, A_MODSEQ };

struct row {
	const char *name;
	enum imap_search_op op;
	enum arg arg;
	unsigned flag;
	const char *field;
	bool negate;
};
static const struct row rows[] = {
#define SEARCH_KEY(name, op, arg, flag, field, negate, source) { name, IMAP_SEARCH_##op, A_##arg, flag, field, negate },
#include "imap/search.def"
#undef SEARCH_KEY
};

struct parse {
	struct imap_lex *l;
	unsigned depth, keys;
	struct err *e;
};

static int get_key(struct parse *p, struct imap_search_key **out);

static struct imap_search_key *key_new(struct parse *p, enum imap_search_op op)
{
	struct imap_search_key *k = NULL;

	if (p->keys++ == IMAP_SEARCH_KEYS_MAX || !(k = ARENA_NEW(p->l->arena, struct imap_search_key))) {
		(void)err_set(p->e, ERR_LIMIT, 0, "too many search keys");
		return NULL;
	}
	k->op = op;
	return k;
}

static int enter(struct parse *p)
{
	if (p->depth == IMAP_SEARCH_DEPTH_MAX)
		return err_set(p->e, ERR_LIMIT, 0, "search nested too deep");
	p->depth++;
	return 0;
}

/* Keys up to the end or, after "(", to its ")". */
static int get_keys(struct parse *p, bool paren, struct imap_search_key **out)
{
	struct imap_search_key *all = key_new(p, IMAP_SEARCH_AND);

	if (!all)
		return -1;
	struct imap_search_key **tail = &all->sub;

	do {
		while (imap_try(p->l, ' '))
			;
		if (get_key(p, tail) < 0)
			return -1;
		tail = &(*tail)->next;
	} while (imap_at(p->l, ' '));
	if (paren && imap_get_char(p->l, ')', p->e) < 0)
		return -1;
	*out = all;
	return 0;
}

static int get_sub(struct parse *p, struct imap_search_key **out)
{
	if (imap_get_sp(p->l, p->e) < 0)
		return -1;
	return get_key(p, out);
}

static int get_text(struct parse *p, struct str *out)
{
	if (imap_get_sp(p->l, p->e) < 0)
		return -1;
	return imap_get_astring(p->l, out, p->e);
}

/* [SP entry-name SP ("priv" / "shared" / "all")] SP mod-sequence-valzer (RFC 7162 3.1.5). Flags have no mod-sequences of their own: the message's. */
static int get_modseq(struct parse *p, struct imap_search_key *k)
{
	struct str name, type;

	if (imap_get_sp(p->l, p->e) < 0)
		return -1;
	if (imap_at(p->l, '"')) {
		if (imap_get_string(p->l, &name, p->e) < 0 || imap_get_sp(p->l, p->e) < 0 || imap_get_atom(p->l, &type, p->e) < 0)
			return -1;
		if (!str_case_starts(name, STR("/flags/")) ||
		    (!str_case_eq(type, STR("priv")) && !str_case_eq(type, STR("shared")) && !str_case_eq(type, STR("all"))))
			return err_set(p->e, ERR_INPUT, 0, "unknown metadata item");
		if (imap_get_sp(p->l, p->e) < 0)
			return -1;
	}
	return imap_get_number(p->l, 0, INT64_MAX, &k->number, p->e);
}

static int get_args(struct parse *p, enum arg arg, struct imap_search_key *k)
{
	struct imap_lex *l = p->l;

	switch (arg) {
	case A_NONE:
		return 0;
	case A_FIELD_TEXT:
		if (get_text(p, &k->field) < 0)
			return -1;
		return get_text(p, &k->text);
	case A_TEXT:
		return get_text(p, &k->text);
	case A_KEY:
		return get_sub(p, &k->sub);
	case A_TWO_KEYS:
		if (get_sub(p, &k->sub) < 0)
			return -1;
		return get_sub(p, &k->sub->next);
	case A_MODSEQ:
		return get_modseq(p, k);
	case A_ATOM:
	case A_DATE:
	case A_NUMBER:
	case A_SET:
		break;
	}
	if (imap_get_sp(l, p->e) < 0)
		return -1;
	if (arg == A_ATOM)
		return imap_get_atom(l, &k->text, p->e);
	if (arg == A_DATE)
		return imap_get_date(l, &k->days, p->e);
	if (arg == A_NUMBER)
		return imap_get_number(l, 0, INT64_MAX, &k->number, p->e);
	return imap_get_seqset(l, &k->set, p->e);
}

static int get_named(struct parse *p, struct imap_search_key **out)
{
	const char *start = p->l->p;
	struct imap_search_key *k;
	struct str name;

	while (!imap_at_end(p->l) && ch_alpha(*p->l->p))
		p->l->p++;
	name = str_n(start, (size_t)(p->l->p - start));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *r = &rows[i];

		if (!str_case_eq(name, str_c(r->name)))
			continue;
		if (!(k = key_new(p, r->op == IMAP_SEARCH_NOT ? IMAP_SEARCH_AND : r->op)))
			return -1;
		k->negate = r->negate;
		k->flag = (enum imap_flag)r->flag;
		k->field = str_c(r->field);
		*out = k;
		return get_args(p, r->arg, k);
	}
	return err_set(p->e, ERR_INPUT, 0, "unknown search key");
}

static int get_key_inner(struct parse *p, struct imap_search_key **out)
{
	if (imap_try(p->l, '('))
		return get_keys(p, true, out);
	if (imap_at(p->l, '*') || imap_at(p->l, '$') || (!imap_at_end(p->l) && ch_digit(*p->l->p))) {
		struct imap_search_key *k = key_new(p, IMAP_SEARCH_SET);

		if (!k)
			return -1;
		*out = k;
		return imap_get_seqset(p->l, &k->set, p->e);
	}
	return get_named(p, out);
}

static int get_key(struct parse *p, struct imap_search_key **out)
{
	if (enter(p) < 0)
		return -1;
	const int r = get_key_inner(p, out);

	p->depth--;
	return r;
}

int imap_get_search(struct imap_lex *l, struct imap_search_key **out, struct err *e)
{
	struct parse p = { .l = l, .e = e };

	return get_keys(&p, false, out);
}

int imap_get_search_charset(struct imap_lex *l, struct str *out, struct err *e)
{
	*out = (struct str){ 0 };
	if (!imap_try_word(l, "CHARSET"))
		return 0;
	if (imap_get_sp(l, e) < 0 || imap_get_astring(l, out, e) < 0 || imap_get_sp(l, e) < 0)
		return -1;
	return 0;
}
