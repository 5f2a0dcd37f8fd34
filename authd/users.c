/* Parsing and formatting of the users file. */
#include "authd/users.h"

#include "base/map.h"
#include "base/num.h"
#include "map/accounts.h"

#define HEADER "postern-users 1 next "

static int row_parse(struct str line, uint32_t base, uint64_t end, struct user_row *out, struct err *e)
{
	struct str rest = line, name = str_split(&rest, ':'), uid = str_split(&rest, ':'), state = str_split(&rest, ':');
	struct user_row r = { .name = name };
	uint64_t n = 0;

	if (!rest.p || str_chr(rest, ':') >= 0)
		return err_set(e, ERR_INPUT, 0, "not four fields");
	if (!account_name_valid(name))
		return err_set(e, ERR_INPUT, 0, "bad name");
	r.system = str_eq(uid, STR("-"));
	if (!r.system && num_parse(uid, base, end - 1, &n) < 0)
		return err_set(e, ERR_INPUT, 0, "uid not within %u..%llu", base, (unsigned long long)end - 1);
	r.uid = (uint32_t)n;
	r.disabled = str_eq(state, STR("disabled"));
	if (!r.disabled && !str_eq(state, STR("active")))
		return err_set(e, ERR_INPUT, 0, "neither active nor disabled");
	if (account_quota_parse(rest, &r.quota_bytes, &r.quota_count) < 0)
		return err_set(e, ERR_INPUT, 0, "bad quota");
	*out = r;
	return 0;
}

/* A uid of two users would make one able to read the other's mail. */
static int doubled(struct map *names, struct map *uids, const struct user_row *r, struct err *e)
{
	static char seen;

	if (map_set(names, r->name, &seen))
		return err_set(e, ERR_INPUT, 0, "a name twice");
	if (!r->system && map_set(uids, str_n(&r->uid, sizeof r->uid), &seen))
		return err_set(e, ERR_INPUT, 0, "uid %u twice", r->uid);
	return 0;
}

static int rows_parse(struct str text, uint32_t base, struct arena *a, struct users *u, struct err *e)
{
	struct map *names = map_new(), *uids = map_new();
	size_t line_no = 1;
	int rc = 0;

	while (text.p && text.n && rc == 0) {
		struct str line = str_split(&text, '\n');
		struct user_row r;

		line_no++;
		if (line.n == 0 || line.p[0] == '#')
			continue;
		rc = u->n >= USERS_MAX ? err_set(e, ERR_LIMIT, 0, "more than %d users", USERS_MAX) :
					 row_parse(line, base, u->next_uid, &r, e);
		if (rc == 0)
			rc = doubled(names, uids, &r, e);
		if (rc == 0)
			*users_append(u, a) = r;
	}
	map_free(&names);
	map_free(&uids);
	return rc == 0 ? 0 : err_wrap(e, "line %zu", line_no);
}

int users_parse(struct str text, uint32_t uid_base, uint32_t uid_count, struct arena *a, struct users *out, struct err *e)
{
	struct users u = { .next_uid = uid_base };
	uint64_t next;

	if (text.n == 0) {
		*out = u;
		return 0;
	}
	if (memchr(text.p, 0, text.n) || text.p[text.n - 1] != '\n')
		return err_set(e, ERR_INPUT, 0, "cut short, or not text");
	struct str head = str_split(&text, '\n');
	if (!str_starts(head, STR(HEADER)) ||
	    num_parse(str_from(head, sizeof HEADER - 1), uid_base, (uint64_t)uid_base + uid_count, &next) < 0)
		return err_set(e, ERR_INPUT, 0, "line 1: not \"" HEADER "N\" with N from %u", uid_base);
	u.next_uid = (uint32_t)next;
	if (rows_parse(text, uid_base, a, &u, e) < 0)
		return -1;
	*out = u;
	return 0;
}

void users_format(const struct users *u, struct buf *out)
{
	buf_printf(out, HEADER "%u\n", u->next_uid);
	for (size_t i = 0; i < u->n; i++) {
		const struct user_row *r = &u->v[i];

		buf_str(out, r->name);
		if (r->system)
			buf_c(out, ":-");
		else
			buf_printf(out, ":%u", r->uid);
		buf_printf(out, ":%s:", r->disabled ? "disabled" : "active");
		account_quota_format(out, r->quota_bytes, r->quota_count);
		buf_ch(out, '\n');
	}
}

struct user_row *users_find(const struct users *u, struct str name)
{
	for (size_t i = 0; i < u->n; i++)
		if (str_case_eq(u->v[i].name, name))
			return &u->v[i];
	return NULL;
}

struct user_row *users_append(struct users *u, struct arena *a)
{
	/* Capacity is the next power of two: grown by copying into the arena. */
	if ((u->n & (u->n - 1)) == 0) {
		struct user_row *v = ARENA_ARRAY(a, struct user_row, u->n ? u->n * 2 : 1);

		if (u->n)
			memcpy(v, u->v, u->n * sizeof *v);
		u->v = v;
	}
	return &u->v[u->n++];
}

void users_remove(struct users *u, struct user_row *row)
{
	size_t i = (size_t)(row - u->v);

	memmove(row, row + 1, (u->n - i - 1) * sizeof *row);
	u->n--;
}
