/* What postern-user tells of users: all, or one. */
#include "authd/user_show.h"

#include <stdio.h>

#include "base/json.h"
#include "map/cdbfile.h"
#include "store/quota.h"

static void json_user(const char *name, const char *kind, const char *state, unsigned uid, const struct quota *quota, bool first)
{
	fputs(first ? "\n  {" : ",\n  {", stdout);
	json_field(stdout, "name", str_c(name), true);
	json_field(stdout, "kind", str_c(kind), false);
	json_field(stdout, "state", str_c(state), false);
	json_number(stdout, "uid", uid, false);
	json_number(stdout, "quota", (long long)quota->bytes, false);
	json_number(stdout, "quota_messages", (long long)quota->count, false);
	putchar('}');
}

/* As "quota" takes it. */
static const char *quota_text(const struct quota *q, char *text, size_t cap)
{
	static const char units[] = "\0KMGT";
	unsigned long long n = q->bytes;
	unsigned u = 0;

	if (q->bytes == 0 && q->count == 0)
		return "default";
	if (q->bytes == USERS_NO_QUOTA && q->count == USERS_NO_QUOTA)
		return "none";
	for (; n && n % 1024 == 0 && u < 4; u++)
		n /= 1024;
	int k = snprintf(text, cap, "%llu", n);
	if (units[u])
		k += snprintf(text + k, cap - (size_t)k, "%c", units[u]);
	if (q->count)
		(void)snprintf(text + k, cap - (size_t)k, ",%llu", (unsigned long long)q->count);
	return text;
}

static void print_user(bool json, const char *name, const char *kind, bool disabled, unsigned uid, const struct quota *quota, bool first)
{
	const char *const state = disabled ? "disabled" : "active";
	char text[64];

	if (json)
		json_user(name, kind, state, uid, quota, first);
	else
		printf("%-40s %-7s %-8s  uid %-10u quota %s\n", name, kind, state, uid, quota_text(quota, text, sizeof(text)));
}

struct listing {
	bool json, first;
};

static int list_system(void *ctx, struct str key, struct str value)
{
	struct listing *l = ctx;
	struct account a;
	struct err e = { 0 };

	if (account_parse(key, value, &a, &e) < 0 || (a.flags & ACCOUNT_F_VIRTUAL))
		return 0;	/* the marker, and our own, which the users file has */
	print_user(l->json, a.name, "system", a.flags & ACCOUNT_F_DISABLED, a.uid, &(struct quota){ a.quota_bytes, a.quota_count }, l->first);
	l->first = false;
	return 0;
}

int user_list(struct user_store *s, const struct conf *conf, bool json, struct err *e)
{
	struct listing l = { json, true };
	struct cdbfile *c;
	struct err none = { 0 };

	if (json)
		putchar('[');
	for (size_t i = 0; i < s->users.n; i++) {
		const struct user_row *u = &s->users.v[i];

		if (u->system)
			continue;
		print_user(json, arena_cstr(s->arena, u->name), "virtual", u->disabled, u->uid, &(struct quota){ u->quota_bytes, u->quota_count },
			   l.first);
		l.first = false;
	}
	if (accounts_open(arena_printf(s->arena, "%s/accounts.cdb", conf->state_directory), false, &c, &none) == 0) {
		(void)!cdbfile_each(c, list_system, &l, &none);
		cdbfile_close(&c);
	}
	if (json)
		puts(l.first ? "]" : "\n]");
	return 0;
}

static int account_any(struct user_store *s, const struct conf *conf, const char *name, struct account *a, struct err *e)
{
	const struct user_row *u = users_find(&s->users, str_c(name));
	struct cdbfile *c;
	int rc;

	if (u && !u->system)
		return user_store_account(s, u, a, e);
	if (accounts_open(arena_printf(s->arena, "%s/accounts.cdb", conf->state_directory), false, &c, e) < 0)
		return -1;
	rc = accounts_get(c, str_c(name), (uid_t)conf->auth_min_uid, a, e);
	cdbfile_close(&c);
	return rc;
}

int user_show(struct user_store *s, const struct conf *conf, const char *name, bool json, struct err *e)
{
	struct account a;

	if (account_any(s, conf, name, &a, e) < 0)
		return -1;
	const char *const kind = a.flags & ACCOUNT_F_VIRTUAL ? "virtual" : "system", *const state = a.flags & ACCOUNT_F_DISABLED ? "disabled" : "active";
	if (json) {
		putchar('{');
		json_field(stdout, "name", str_c(a.name), true);
		json_field(stdout, "kind", str_c(kind), false);
		json_field(stdout, "state", str_c(state), false);
		json_number(stdout, "uid", a.uid, false);
		json_number(stdout, "gid", a.gid, false);
		json_field(stdout, "home", str_c(a.home), false);
		json_field(stdout, "maildir", str_c(a.maildir), false);
		json_number(stdout, "quota", (long long)a.quota_bytes, false);
		json_number(stdout, "quota_messages", (long long)a.quota_count, false);
		puts("}");
	} else {
		printf("name: %s\nkind: %s\nstate: %s\nuid: %u\ngid: %u\nhome: %s\nmaildir: %s\nquota: %llu\nquota_messages: %llu\n", a.name, kind, state,
		       (unsigned)a.uid, (unsigned)a.gid, a.home, a.maildir, a.quota_bytes, a.quota_count);
	}
	return 0;
}
