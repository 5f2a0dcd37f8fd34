/* The table of who shares with whom: shares.h says what it is for. */
#include "authd/shares.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/map.h"
#include "map/accounts.h"

struct shares {
	struct map *by_owner;	/* name -> its grantees, one per line, each with its line end; owned */
};

struct shares *shares_new(void)
{
	struct shares *s = xzalloc(sizeof *s);

	s->by_owner = map_new();
	return s;
}

void shares_free(struct shares **s)
{
	size_t it = 0;
	struct str key;
	void *value;

	if (!*s)
		return;
	while (map_next((*s)->by_owner, &it, &key, &value))
		free(value);
	map_free(&(*s)->by_owner);
	free(*s);
	*s = NULL;
}

static void take(struct buf *out, struct str list, char between)
{
	size_t n = 0;

	while (list.n && n < SHARES_GRANTEES_MAX) {
		const struct str name = str_split(&list, between);

		if (!account_name_valid(name))
			continue;
		buf_str(out, name);
		buf_ch(out, '\n');
		n++;
	}
}

static bool set(struct shares *s, struct str owner, struct str list, char between)
{
	const char *before = map_get(s->by_owner, owner);
	struct buf b;
	char *now;

	if (!account_name_valid(owner) || (!before && map_count(s->by_owner) >= SHARES_OWNERS_MAX))
		return false;
	buf_init(&b, (size_t)SHARES_GRANTEES_MAX * (ACCOUNT_NAME_MAX + 1));
	take(&b, list, between);
	now = b.n ? xstrndup(b.p, b.n) : NULL;
	buf_fini(&b);
	if (now && before && str_eq(str_c(now), str_c(before))) {
		free(now);
		return false;
	}
	free(now ? map_set(s->by_owner, owner, now) : map_del(s->by_owner, owner));
	return now || before;
}

bool shares_set(struct shares *s, struct str owner, struct str grantees)
{
	return set(s, owner, grantees, '\n');
}

/* Is user among the grantees of one owner? */
static bool meant(const char *grantees, struct str user)
{
	struct str list = str_c(grantees);

	while (list.n) {
		const struct str name = str_split(&list, '\n');

		if (str_case_eq(name, user) || str_eq(name, STR("anyone")) || str_eq(name, STR("authenticated")))
			return true;
	}
	return false;
}

bool shares_open(const struct shares *s, struct str owner, struct str user)
{
	const char *grantees = map_get(s->by_owner, owner);

	return grantees && !str_case_eq(owner, user) && meant(grantees, user);
}

static int name_cmp(const void *pa, const void *pb)
{
	return str_cmp(*(const struct str *)pa, *(const struct str *)pb);
}

size_t shares_owners(const struct shares *s, struct str user, struct str *v, size_t max)
{
	size_t it = 0, n = 0;
	struct str owner;
	void *grantees;

	while (n < max && map_next(s->by_owner, &it, &owner, &grantees)) {
		if (!str_case_eq(owner, user) && meant(grantees, user))
			v[n++] = owner;
	}
	qsort(v, n, sizeof *v, name_cmp);
	return n;
}

/* --- the file's form --- */

void shares_format(const struct shares *s, struct buf *out)
{
	size_t it = 0;
	struct str owner;
	void *grantees;

	buf_c(out, "1\n");
	while (map_next(s->by_owner, &it, &owner, &grantees)) {
		struct str list = str_c(grantees);

		buf_str(out, owner);
		while (list.n) {
			buf_ch(out, ' ');
			buf_str(out, str_split(&list, '\n'));
		}
		buf_ch(out, '\n');
	}
}

void shares_parse(struct shares *s, struct str file)
{
	if (!str_starts(file, STR("1\n")))
		return;
	file = str_from(file, 2);
	while (file.n) {
		struct str line = str_split(&file, '\n');
		const struct str owner = str_split(&line, ' ');

		(void)set(s, owner, line, ' ');
	}
}
