/* Names in responses of another user's process: named.h. Read strictly: what a client might read otherwise than we do is malformed. */
#include "named.h"

enum shape { NAME_NONE, NAME_FIRST, NAME_LIST, NAME_ESEARCH };
static const struct {
	const char *word;
	enum shape shape;
} shapes[] = {
#define RELAYED(word, when, shape) { word, shape },
#include "relayed.def"
#undef RELAYED
};

static int get_name(struct client *c, struct imap_lex *l, struct str *out)
{
	const struct run kept = c->run;
	struct str wire;
	struct err e = { 0 };

	if (imap_get_mailbox(l, &wire, &e) < 0)
		return -1;
	const bool ok = name_take(c, wire, out, &e) == CMD_OK;

	c->run = kept;
	return ok ? 0 : -1;
}

static int get_sp_name(struct client *c, struct imap_lex *l, struct str *out)
{
	struct err e = { 0 };

	return imap_get_sp(l, &e) < 0 ? -1 : get_name(c, l, out);
}

/* SP "(" tag SP "(" … ")" … ")" behind a name (RFC 5258 section 6); the one that we know to hold a name is read, and what else could hold one is refused. */
static int get_extended(struct client *c, struct imap_lex *l, struct named *n)
{
	struct str tag, *values;
	size_t count;
	struct err e = { 0 };

	if (imap_at_end(l))
		return 0;
	if (imap_get_sp(l, &e) < 0 || imap_get_char(l, '(', &e) < 0)
		return -1;
	for (bool more = false; !imap_try(l, ')'); more = true) {
		if ((more && imap_get_sp(l, &e) < 0) || imap_get_astring(l, &tag, &e) < 0)
			return -1;
		if (str_case_eq(tag, STR("CHILDINFO"))) {
			if (imap_get_sp(l, &e) < 0 || imap_get_astring_list(l, false, &values, &count, &e) < 0)
				return -1;
		} else if (!str_case_eq(tag, STR("OLDNAME")) || n->old.n || imap_get_sp(l, &e) < 0 || imap_get_char(l, '(', &e) < 0) {
			return -1;
		} else if (get_name(c, l, &n->old) < 0 || imap_get_char(l, ')', &e) < 0) {
			return -1;
		}
	}
	return imap_get_end(l, &e);
}

/* SP "(" flags ")" SP delimiter SP mailbox … */
static int get_list(struct client *c, struct imap_lex *l, struct named *n)
{
	struct str word;
	struct err e = { 0 };

	n->exists = true;
	if (imap_get_sp(l, &e) < 0 || imap_get_char(l, '(', &e) < 0)
		return -1;
	while (!imap_try(l, ')')) {
		if (imap_try(l, ' '))
			continue;
		if (imap_get_char(l, '\\', &e) < 0 || imap_get_atom(l, &word, &e) < 0)
			return -1;
		if (str_case_eq(word, STR("NonExistent")) || str_case_eq(word, STR("Noselect")))
			n->exists = false;
	}
	if (imap_get_sp(l, &e) < 0 || imap_get_string(l, &word, &e) < 0 || get_sp_name(c, l, &n->name) < 0)
		return -1;
	return get_extended(c, l, n);
}

/* [SP "(" "TAG" SP tag [SP "MAILBOX" SP mailbox SP "UIDVALIDITY" SP number] ")"] … (RFC 7377 section 2.1) */
static int get_esearch(struct client *c, struct imap_lex *l, struct named *n)
{
	struct str tag;
	uint64_t number;
	struct err e = { 0 };

	if (imap_at_end(l))
		return 0;
	if (imap_get_sp(l, &e) < 0)
		return -1;
	if (!imap_try(l, '('))
		return 0;
	if (!imap_try_word(l, "TAG") || imap_get_sp(l, &e) < 0 || imap_get_astring(l, &tag, &e) < 0)
		return -1;
	n->behind = l->p;
	if (imap_try(l, ')'))
		return 0;
	if (imap_get_sp(l, &e) < 0 || !imap_try_word(l, "MAILBOX") || get_sp_name(c, l, &n->name) < 0 || imap_get_sp(l, &e) < 0 ||
	    !imap_try_word(l, "UIDVALIDITY") || imap_get_sp(l, &e) < 0 || imap_get_number(l, 1, UINT32_MAX, &number, &e) < 0)
		return -1;
	return imap_get_char(l, ')', &e);
}

struct str named_word(struct str text, struct str *rest)
{
	struct str word = { 0 };

	*rest = str_from(text, 2);
	if (str_token(rest, " \r\n", &word) && word.n && ch_digit(word.p[0]))
		(void)str_token(rest, " \r\n", &word);
	return word;
}

int named_parse(struct client *c, struct str text, struct named *out)
{
	struct str rest;
	const struct str word = named_word(text, &rest);
	struct imap_lex l = { .p = rest.p, .end = text.p + text.n - 2, .arena = c->arena };
	struct named n = { 0 };
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
		if (!str_case_eq(word, str_c(shapes[i].word)))
			continue;
		if (shapes[i].shape == NAME_FIRST)
			r = get_sp_name(c, &l, &n.name);
		else if (shapes[i].shape == NAME_LIST)
			r = get_list(c, &l, &n);
		else if (shapes[i].shape == NAME_ESEARCH)
			r = get_esearch(c, &l, &n);
		break;
	}
	*out = n;
	return r;
}

static bool below(struct str name, struct str prefix)
{
	return name.n > prefix.n && str_starts(name, prefix);
}

bool named_below(const struct named *n, struct str prefix)
{
	return below(n->name, prefix) && (n->old.n == 0 || below(n->old, prefix));
}
