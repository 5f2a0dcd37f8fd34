/* What etcpasswd.h says: /etc/passwd as the monitor itself reads it, to hold against what gather says. */
#include "authd/etcpasswd.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/map.h"

enum { GID_USERS = 100, ROWS_MAX = 1000000, FOLDED_MAX = 256 };

struct row {
	uid_t uid;
	gid_t gid;
	char *home;
};

struct etcpasswd {
	struct arena *arena;
	struct map *names, *uids;
};

static void add(struct etcpasswd *p, const struct passwd *pw)
{
	char folded[FOLDED_MAX];
	const struct str name = str_c(pw->pw_name);

	if (name.n == 0 || name.n > sizeof folded)
		return;
	for (size_t i = 0; i < name.n; i++)
		folded[i] = ch_lower(name.p[i]);
	const struct str key = str_n(folded, name.n);
	struct row *r = ARENA_NEW(p->arena, struct row);
	*r = (struct row){ .uid = pw->pw_uid, .gid = pw->pw_gid, .home = arena_cstr(p->arena, str_c(pw->pw_dir)) };
	if (!map_get(p->names, key))	/* the first line counts, as for everybody else */
		(void)map_set(p->names, key, r);
	if (!map_get(p->uids, str_n(&r->uid, sizeof r->uid)))
		(void)map_set(p->uids, str_n(&r->uid, sizeof r->uid), r);
}

int etcpasswd_read(const char *path, struct etcpasswd **out, struct err *e)
{
	FILE *f = fopen(path, "re");

	if (!f)
		return err_set(e, ERR_TEMP, errno, "%s", path);
	struct etcpasswd *p = xzalloc(sizeof *p);
	p->arena = arena_new(0);
	p->names = map_new();
	p->uids = map_new();
	const struct passwd *pw;
	while (map_count(p->names) < ROWS_MAX && (pw = fgetpwent(f)))
		add(p, pw);
	fclose(f);
	*out = p;
	return 0;
}

void etcpasswd_free(struct etcpasswd **pp)
{
	struct etcpasswd *p = *pp;

	*pp = NULL;
	if (!p)
		return;
	map_free(&p->names);
	map_free(&p->uids);
	arena_free(&p->arena);
	free(p);
}

bool etcpasswd_has(const struct etcpasswd *p, struct str name)
{
	return map_get(p->names, name) != NULL;
}

const char *etcpasswd_denies(const struct etcpasswd *p, struct str name, uid_t uid, gid_t gid, struct str home, uint64_t min_id)
{
	const struct row *r = map_get(p->names, name);

	if (r)
		return r->uid != uid || r->gid != gid || !str_eq(str_c(r->home), home) ? "not as /etc/passwd says" : NULL;
	if (map_get(p->uids, str_n(&uid, sizeof uid)))
		return "uid belongs to another name in /etc/passwd";
	return gid < min_id && gid != GID_USERS ? "a system group" : NULL;
}
