/* Names of folders of others: spaces.h. */
#include "spaces.h"

const char *space_name(const struct conf *conf, enum space s)
{
	return s == SPACE_OTHER ? conf->imap_other_namespace : conf->imap_shared_namespace;
}

void space_prefix(struct buf *out, const struct conf *conf, struct str owner)
{
	const bool is_public = str_eq(owner, STR(PUBLIC_USER));

	buf_c(out, space_name(conf, is_public ? SPACE_SHARED : SPACE_OTHER));
	buf_ch(out, '/');
	if (is_public)
		return;
	buf_str(out, owner);
	buf_ch(out, '/');
}

/* Is it name, or below it? What is left behind the "/" in *rest. */
static bool inside(struct str utf8, const char *name, struct str *rest)
{
	const struct str s = str_c(name);

	if (s.n == 0 || !str_starts(utf8, s) || (utf8.n > s.n && utf8.p[s.n] != '/'))
		return false;
	*rest = utf8.n > s.n ? str_from(utf8, s.n + 1) : STR("");
	return true;
}

/* A folder that was there before the namespaces stays reachable: it hides them. Looked up once. */
static void look(struct user *u)
{
	struct arena *a = arena_new(0);
	struct store_folder *list = NULL;
	struct err e = { 0 };
	struct str rest;

	u->spaces_known = true;
	for (unsigned s = 0; s < SPACES; s++)
		u->space_hidden[s] = *space_name(u->conf, s) == '\0';
	if (store_list(u->store, a, &list, &e) < 0)
		u->spaces_known = false;
	for (; list; list = list->next) {
		for (unsigned s = 0; s < SPACES && list->exists; s++)
			u->space_hidden[s] |= inside(list->name, space_name(u->conf, s), &rest);
	}
	arena_free(&a);
}

bool space_on(struct client *c, enum space s)
{
	if (c->guest)
		return false;
	if (!c->user->spaces_known)
		look(c->user);
	return c->user->spaces_known && !c->user->space_hidden[s];
}

int space_owner(struct client *c, struct str utf8, struct str *owner_out)
{
	struct str rest;

	if (inside(utf8, space_name(c->user->conf, SPACE_SHARED), &rest) && space_on(c, SPACE_SHARED)) {
		*owner_out = STR(PUBLIC_USER);
		return rest.n ? 1 : 2;
	}
	if (!inside(utf8, space_name(c->user->conf, SPACE_OTHER), &rest) || !space_on(c, SPACE_OTHER))
		return 0;
	*owner_out = str_split(&rest, '/');
	return owner_out->n && rest.n && !str_eq(*owner_out, str_c(c->user->name)) && !str_eq(*owner_out, STR(PUBLIC_USER)) ? 1 : 2;
}
