/* Application passwords in the tables of postern-user, and their printing. */
#include "authd/user_app.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "authd/uses.h"
#include "base/clock.h"
#include "base/enc.h"
#include "base/json.h"
#include "base/num.h"
#include "map/accounts.h"
#include "os/os.h"

enum { DAY = 86400, DAYS_MAX = 36500 };

/* --- records --- */

static struct str key_of(const struct user_store *s, const char *user)
{
	return str_c(arena_printf(s->arena, APP_KEY "%s", user));
}

/* Since when the account is there, as authd knows; 0: it does not, or the account has gone. */
static uint64_t since_of(const struct user_store *s, const char *user)
{
	struct account a;
	struct err e = { 0 };

	return account_load(s->conf->state_directory, str_c(user), 0, &a, &e) == 0 ? a.since : 0;
}

static int record_get(const struct user_store *s, const char *user, struct app_passwords *out, struct err *e)
{
	const struct str value = user_store_password_get(s, key_of(s, user));

	*out = (struct app_passwords){ 0 };
	if (value.p && app_parse(value, out, e) < 0)
		return err_wrap(e, "passwd.cdb: %s", user);
	app_drop_before(out, since_of(s, user));
	return 0;
}

static int record_put(struct user_store *s, const char *user, const struct app_passwords *p, struct err *e)
{
	struct buf b;

	if (p->n == 0 && !p->main_for_webmail) {
		user_app_forget(s, user);
		return 0;
	}
	buf_init(&b, APP_RECORD_MAX);
	app_format(p, &b);
	const int rc = buf_check(&b, "application passwords", e);
	if (rc == 0)
		user_store_password(s, key_of(s, user), buf_view(&b));
	buf_fini(&b);
	return rc;
}

bool user_app_any(const struct user_store *s, const char *user)
{
	return user_store_has_password(s, key_of(s, user));
}

void user_app_forget(struct user_store *s, const char *user)
{
	user_store_password(s, key_of(s, user), (struct str){ 0 });
}

static struct app_password *find(struct app_passwords *p, struct str name)
{
	for (size_t i = 0; i < p->n; i++)
		if (str_eq(p->v[i].name, name) || str_eq(p->v[i].id, name))
			return &p->v[i];
	return NULL;
}

/* --- changes --- */

/* "2027-06-30": up to the end of that day here. */
static int date_take(const char *text, uint64_t *out)
{
	struct tm tm = { .tm_isdst = -1, .tm_hour = 23, .tm_min = 59, .tm_sec = 59 };
	struct str rest = str_c(text);
	const struct str year = str_split(&rest, '-'), month = str_split(&rest, '-');
	uint64_t y, m, d;

	if (year.n != 4 || month.n != 2 || rest.n != 2 || num_parse(year, 1970, 9999, &y) < 0 || num_parse(month, 1, 12, &m) < 0 ||
	    num_parse(rest, 1, 31, &d) < 0)
		return -1;
	tm.tm_year = (int)y - 1900;
	tm.tm_mon = (int)m - 1;
	tm.tm_mday = (int)d;
	const time_t t = mktime(&tm);
	if (t < 0 || tm.tm_mday != (int)d)	/* there is no 31 June */
		return -1;
	*out = (uint64_t)t;
	return 0;
}

static int expires_take(const char *text, uint64_t now, uint64_t *out, struct err *e)
{
	const struct str s = str_c(text);
	uint64_t days;

	if (s.n && s.p[s.n - 1] == 'd' && num_parse(str_sub(s, 0, s.n - 1), 1, DAYS_MAX, &days) == 0)
		*out = now + days * DAY;
	else if (date_take(text, out) < 0)
		return err_set(e, ERR_INPUT, 0, "%s: neither days (90d) nor a date (2027-06-30)", text);
	return *out > now ? 0 : err_set(e, ERR_INPUT, 0, "%s has passed", text);
}

int user_app_add(struct user_store *s, const char *user, const struct app_options *o, struct app_made *made, struct err *e)
{
	const uint64_t now = (uint64_t)clock_wall();
	struct app_password new = { .services = APP_ALL, .made = now };
	struct app_passwords p;

	if (!o->name)
		return err_set(e, ERR_INPUT, 0, "which device or program is it for? (--name)");
	new.name = str_c(o->name);
	if (!app_name_valid(new.name))
		return err_set(e, ERR_INPUT, 0, "%s: not a name (at most %d letters, digits, . _ - + and one @)", o->name, APP_NAME_MAX);
	if ((o->services && app_services_parse(str_c(o->services), &new.services, e) < 0) || (o->expires && expires_take(o->expires, now, &new.expires, e) < 0) ||
	    record_get(s, user, &p, e) < 0)
		return -1;
	if (find(&p, new.name))
		return err_set(e, ERR_EXISTS, 0, "%s has an application password %s", user, o->name);
	if (p.n == APP_PASSWORDS_MAX)
		return err_set(e, ERR_LIMIT, 0, "%s has %d application passwords, and may not have more", user, APP_PASSWORDS_MAX);
	if (app_make(&new, made->id, made->shown, e) < 0)
		return -1;
	p.v[p.n++] = new;
	return record_put(s, user, &p, e);
}

int user_app_del(struct user_store *s, const char *user, const struct app_options *o, struct err *e)
{
	struct app_passwords p;

	if (o->all == (o->name != NULL))
		return err_set(e, ERR_INPUT, 0, "which? (--name, or --all)");
	if (record_get(s, user, &p, e) < 0)
		return -1;
	struct app_password *const gone = o->all ? NULL : find(&p, str_c(o->name));
	if (!o->all && !gone)
		return err_set(e, ERR_NOENT, 0, "%s has no application password %s", user, o->name);
	if (gone)
		*gone = p.v[--p.n];
	else
		p.n = 0;
	return record_put(s, user, &p, e);
}

int user_app_main(struct user_store *s, const char *user, const char *what, struct err *e)
{
	const bool webmail = strcmp(what, "webmail") == 0;
	struct app_passwords p;

	if (!webmail && strcmp(what, "any") != 0)
		return err_set(e, ERR_INPUT, 0, "%s: neither any nor webmail", what);
	if (webmail && s->conf->webmail_hosts.n == 0)
		return err_set(e, ERR_INPUT, 0, "webmail_hosts is empty: there would be nowhere left to use the password");
	if (record_get(s, user, &p, e) < 0)
		return -1;
	p.main_for_webmail = webmail;
	return record_put(s, user, &p, e);
}

/* --- printing --- */

static const char *services_text(unsigned services, char out[32])
{
	struct buf b;

	buf_init(&b, 32);
	app_services_format(services, &b);
	snprintf(out, 32, "%.*s", STR_ARG(buf_view(&b)));
	buf_fini(&b);
	return out;
}

void user_app_print_made(struct app_made *made, const char *user, const struct app_options *o)
{
	if (o->json) {
		putchar('{');
		json_field(stdout, "user", str_c(user), true);
		json_field(stdout, "app", str_c(o->name), false);
		json_field(stdout, "id", str_c(made->id), false);
		json_field(stdout, "password", str_c(made->shown), false);
		puts("}");
	} else {
		puts(made->shown);
	}
	mem_wipe(made->shown, sizeof made->shown);
}

struct listing {
	const struct user_store *s;
	const struct app_options *o;
	struct uses *uses;
	uint64_t now;
	bool first;
};

static const char *when_text(uint64_t when, const char *never, char out[40])
{
	const time_t at = (time_t)when;
	struct tm tm;

	if (when == 0 || localtime_r(&at, &tm) == NULL || strftime(out, 40, "%Y-%m-%d %H:%M", &tm) == 0)
		snprintf(out, 40, "%s", never);
	return out;
}

static void print_one(struct listing *l, const char *user, uint64_t since, const struct app_password *r)
{
	char client[USES_CLIENT_MAX + 1], services[32], made[40], expires[40], used[40];
	const uint64_t last = uses_last(l->uses, r->id, client);
	const bool expired = (r->expires && r->expires <= l->now) || r->made < since;

	(void)services_text(r->services, services);
	if (l->o->json) {
		fputs(l->first ? "\n  {" : ",\n  {", stdout);
		json_field(stdout, "user", str_c(user), true);
		json_field(stdout, "app", r->name, false);
		json_field(stdout, "id", r->id, false);
		json_field(stdout, "services", str_c(services), false);
		json_number(stdout, "made", (long long)r->made, false);
		json_number(stdout, "expires", (long long)r->expires, false);
		json_bool(stdout, "expired", expired, false);
		json_number(stdout, "last_use", (long long)last, false);
		json_field(stdout, "last_address", str_c(client), false);
		putchar('}');
	} else {
		printf("%-30s %-20.*s %-14s made %s  %s %-16s  used %s%s%s\n", user, STR_ARG(r->name), services, when_text(r->made, "-", made),
		       expired ? "EXPIRED" : "expires", when_text(r->expires, "never", expires), when_text(last, "never", used), client[0] ? " from " : "", client);
	}
	l->first = false;
}

static int list_of_user(struct listing *l, const char *user, struct str value, struct err *e)
{
	const uint64_t since = since_of(l->s, user);
	struct app_passwords p;

	if (app_parse(value, &p, e) < 0)
		return err_wrap(e, "passwd.cdb: %s", user);
	for (size_t i = 0; i < p.n; i++)
		print_one(l, user, since, &p.v[i]);
	if (p.main_for_webmail && !l->o->json)
		printf("%-30s the main password is for the webmail only\n", user);
	return 0;
}

static int uses_read(struct listing *l, struct err *e)
{
	struct buf b;
	struct err why = { 0 };

	buf_init(&b, USES_FILE_MAX);
	const int rc = file_read(arena_printf(l->s->arena, "%s/app-uses", l->s->conf->state_directory), USES_FILE_MAX, &b, &why);
	if (rc == 0)
		uses_parse(l->uses, buf_view(&b));
	buf_fini(&b);
	if (rc < 0 && why.code != ERR_NOENT) {
		*e = why;
		return -1;
	}
	return 0;
}

int user_app_list(struct user_store *s, const char *user, const struct app_options *o, struct err *e)
{
	struct listing l = { .s = s, .o = o, .uses = uses_new(), .now = (uint64_t)clock_wall(), .first = true };
	int rc = uses_read(&l, e);

	if (o->json && rc == 0)
		putchar('[');
	for (size_t i = 0; i < s->n_passwords && rc == 0; i++) {
		const struct pass_pair *pair = &s->passwords[i];
		const struct str whose = str_from(pair->name, sizeof APP_KEY - 1);

		if (str_starts(pair->name, STR(APP_KEY)) && (!user[0] || str_eq(whose, str_c(user))))
			rc = list_of_user(&l, arena_cstr(s->arena, whose), pair->value, e);
	}
	if (o->json && rc == 0)
		puts(l.first ? "]" : "\n]");
	uses_free(&l.uses);
	return rc;
}
