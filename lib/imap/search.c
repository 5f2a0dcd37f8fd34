/* The parser of SEARCH keys (RFC 3501 section 9: search-key). Depth and number of keys are bounded. */
#include "imap/search.h"

#include "imap/fetch.h"

enum arg { A_NONE, A_TEXT, A_FIELD_TEXT, A_ATOM, A_DATE, A_NUMBER, A_SET, A_KEY, A_TWO_KEYS, A_MODSEQ, A_AGE };

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
	case A_AGE:
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
	if (arg == A_AGE)
		return imap_get_number(l, 1, UINT32_MAX, &k->number, p->e);
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
		if (!(k = key_new(p, r->op == IMAP_SEARCH_NOT || r->op == IMAP_SEARCH_FUZZY ? IMAP_SEARCH_AND : r->op)))
			return -1;
		k->fuzzy = r->op == IMAP_SEARCH_FUZZY;
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

/* --- what to return --- */

static int get_position(struct imap_lex *l, bool from_end, int64_t *out, struct err *e)
{
	uint64_t n;

	if (from_end && imap_get_char(l, '-', e) < 0)
		return -1;
	if (imap_get_number(l, 1, UINT32_MAX, &n, e) < 0)
		return -1;
	*out = from_end ? -(int64_t)n : (int64_t)n;
	return 0;
}

int imap_get_partial(struct imap_lex *l, struct imap_partial *out, struct err *e)
{
	const bool from_end = imap_at(l, '-');

	if (get_position(l, from_end, &out->lo, e) < 0 || imap_get_char(l, ':', e) < 0 || get_position(l, from_end, &out->hi, e) < 0)
		return err_set(e, ERR_INPUT, 0, "invalid partial range");
	if (out->lo > out->hi)
		*out = (struct imap_partial){ out->hi, out->lo };
	return 0;
}

void imap_partial_resolve(const struct imap_partial *p, size_t n, size_t *from_out, size_t *to_out)
{
	int64_t lo = p->lo < 0 ? (int64_t)n + p->lo : p->lo - 1, hi = p->hi < 0 ? (int64_t)n + p->hi + 1 : p->hi;

	lo = lo < 0 ? 0 : lo;
	hi = hi > (int64_t)n ? (int64_t)n : hi;
	*from_out = hi > lo ? (size_t)lo : 0;
	*to_out = hi > lo ? (size_t)hi : 0;
}

/* [SP "(" fetch-att *(SP fetch-att) ")"] */
static int get_update_items(struct imap_lex *l, struct imap_search_return *out, struct err *e)
{
	struct imap_fetch items;

	if (l->end - l->p < 2 || l->p[0] != ' ' || l->p[1] != '(')
		return 0;
	const char *const from = ++l->p;

	if (imap_get_fetch(l, &items, e) < 0)
		return -1;
	out->items = str_n(from, (size_t)(l->p - from));
	return 0;
}

static int get_return(struct imap_lex *l, struct imap_search_return *out, struct err *e)
{
	static const struct {
		const char *name;
		unsigned bit;
	} table[] = {
		{ "MIN", IMAP_RETURN_MIN }, { "MAX", IMAP_RETURN_MAX }, { "ALL", IMAP_RETURN_ALL }, { "COUNT", IMAP_RETURN_COUNT }, { "SAVE", IMAP_RETURN_SAVE },
		{ "PARTIAL", IMAP_RETURN_PARTIAL }, { "UPDATE", IMAP_RETURN_UPDATE }, { "CONTEXT", IMAP_RETURN_CONTEXT },
		{ "RELEVANCY", IMAP_RETURN_RELEVANCY },
	};
	struct str word;

	if (imap_get_atom(l, &word, e) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		if (!str_case_eq(word, str_c(table[i].name)))
			continue;
		if (table[i].bit == IMAP_RETURN_PARTIAL && ((out->what & IMAP_RETURN_PARTIAL) || imap_get_sp(l, e) < 0 || imap_get_partial(l, &out->partial, e) < 0))
			return err_set(e, ERR_INPUT, 0, "invalid PARTIAL");
		out->what |= table[i].bit;
		return table[i].bit == IMAP_RETURN_UPDATE ? get_update_items(l, out, e) : 0;
	}
	return err_set(e, ERR_INPUT, 0, "unknown RETURN option");
}

int imap_get_search_return(struct imap_lex *l, struct imap_search_return *out, struct err *e)
{
	enum { SHOWS = IMAP_RETURN_MIN | IMAP_RETURN_MAX | IMAP_RETURN_ALL | IMAP_RETURN_COUNT | IMAP_RETURN_PARTIAL };

	*out = (struct imap_search_return){ 0 };
	if (!imap_try_word(l, "RETURN"))
		return 0;
	out->given = true;
	if (imap_get_sp(l, e) < 0 || imap_get_char(l, '(', e) < 0)
		return -1;
	while (!imap_try(l, ')')) {
		while (imap_try(l, ' '))
			;
		if (!imap_at(l, ')') && get_return(l, out, e) < 0)
			return -1;
	}
	if ((out->what & IMAP_RETURN_ALL) && (out->what & IMAP_RETURN_PARTIAL))	/* RFC 5267 4.4 */
		return err_set(e, ERR_INPUT, 0, "ALL and PARTIAL exclude each other");
	if (!(out->what & (SHOWS | IMAP_RETURN_SAVE)))
		out->what |= IMAP_RETURN_ALL;
	return imap_get_sp(l, e);
}
