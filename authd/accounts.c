/* accounts.cdb: who has mail here. authd-gather says what it found; this file believes none of it before it is checked: names, uid ranges
 * (system accounts at least auth_min_uid, the suite's own users inside their reserved range), no uid and no name twice, plain absolute paths, nothing
 * that /etc/passwd contradicts. A
 * whole list is installed by rename, or none: after an error the old table stays, and so it does when a name service is away: an account that is not listed
 * loses its sessions, and its mail is refused. Homes of the suite's own users are made here, so
 * that the first message finds one. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "authd/etcpasswd.h"
#include "authd/monitor.h"
#include "authd/place.h"
#include "authd/users.h"
#include "base/arena.h"
#include "base/clock.h"
#include "log/log.h"
#include "os/os.h"

enum { GATHER_MS = 60000, AGAIN_MS = 10000, WATCHED = 2, WAITERS_MAX = 64, MOMENT_S = 5 };

struct waiter {
	accounts_done_fn *fn;
	void *ctx;
};

struct accounts_state {
	struct cdbfile *cdb;		/* NULL: there is none yet */
	size_t count, system, local;	/* local: the suite's own users who are named as system accounts are */
	/* the gathering under way */
	struct ipc_chan *ch;
	pid_t pid;
	struct timer *timer;
	struct arena *arena;
	struct account *list;
	size_t n, cap, refused;
	struct map *names, *uids;
	struct etcpasswd *passwd;
	bool again;			/* something changed meanwhile */
	struct waiter waiters[WAITERS_MAX];
	size_t n_waiters, n_early;	/* early: those that the running gathering serves */
	struct stat seen[WATCHED];
	uint64_t again_ms;		/* after one that failed, when to gather again; 0 */
	char told[400];			/* why it failed */
};

static void gather_start(struct monitor *m);

static void file_path(const struct monitor *m, const char *name, char out[1100])
{
	snprintf(out, 1100, "%s/%s", m->conf->state_directory, name);
}

/* --- lookups --- */

static void reopen(struct monitor *m)
{
	struct accounts_state *s = m->accounts;
	struct cdbfile *c = NULL;
	char path[1100];
	struct err e = { 0 };

	file_path(m, "accounts.cdb", path);
	if (accounts_open(path, true, &c, &e) < 0) {
		if (e.code != ERR_NOENT || s->cdb)
			log_error("%s: %s", path, e.text);
		return;
	}
	cdbfile_close(&s->cdb);
	s->cdb = c;
}

static bool in_list(struct conf_list l, struct str word)
{
	for (size_t i = 0; i < l.n; i++)
		if (str_case_eq(str_c(l.v[i]), word))
			return true;
	return false;
}

static int get(struct monitor *m, struct str name, struct account *out, struct err *e)
{
	if (accounts_get(m->accounts->cdb, name, (uid_t)m->conf->auth_min_uid, out, e) == 0)
		return 0;
	return e->code == ERR_NOENT ? 1 : -1;
}

/* joe@our.host is the system account joe, as clients of saslauthd know it. False: this can be no name of a system account. */
static bool system_name(const struct monitor *m, struct str given, struct str *out)
{
	const ptrdiff_t at = str_rchr(given, '@');

	*out = at < 0 ? given : str_sub(given, 0, (size_t)at);
	return out->n && (at < 0 || in_list(m->conf->mydestination, str_from(given, (size_t)at + 1)));
}

int accounts_find(struct monitor *m, struct str given, struct account *out, struct err *e)
{
	struct str name;

	if (!m->accounts->cdb)
		return err_set(e, ERR_TEMP, 0, "no accounts have been gathered yet");
	if (!account_name_valid(given))
		return 1;
	int rc = get(m, given, out, e);
	if (rc == 1 && system_name(m, given, &name) && name.n < given.n)
		rc = get(m, name, out, e);
	return rc;
}

/* Where names of this form are accounts of both kinds, each unknown one keeps to a kind of its own. */
bool accounts_system_like(const struct monitor *m, struct str given)
{
	const struct accounts_state *s = m->accounts;
	struct str name;

	if (s->system == 0 || !account_name_valid(given) || !system_name(m, given, &name))
		return false;
	return s->local == 0 || (str_case_hash(name) & 1);
}

static void counts_add(struct monitor *m, const struct account *a)
{
	struct accounts_state *s = m->accounts;
	struct str name;

	s->count++;
	if (!(a->flags & ACCOUNT_F_VIRTUAL))
		s->system++;
	else if (system_name(m, str_c(a->name), &name))
		s->local++;
}

static int count_record(void *ctx, struct str key, struct str value)
{
	struct account a;
	struct err e = { 0 };

	if (account_parse(key, value, &a, &e) == 0)	/* else the marker, or what no look-up takes either */
		counts_add(ctx, &a);
	return 0;
}

static void damaged(struct accounts_state *s, const char *why)
{
	log_error("accounts.cdb: %s; it is not used", why);
	cdbfile_close(&s->cdb);
}

/* Of the file that serves, which may be that of an earlier run, and for long: until a gathering succeeds. */
static void counts_make(struct monitor *m)
{
	struct accounts_state *s = m->accounts;
	struct err e = { 0 };

	s->count = s->system = s->local = 0;
	if (s->cdb && cdbfile_each(s->cdb, count_record, m, &e) < 0)
		damaged(s, e.text);
}

void accounts_reloaded(struct monitor *m)
{
	counts_make(m);
	accounts_refresh(m, NULL, NULL);
}

size_t accounts_count(const struct monitor *m)
{
	return m->accounts->count;
}

/* --- checking what gather said --- */

static uint64_t quota_effective(uint64_t own, uint64_t by_default)
{
	return own == 0 ? by_default : own >= USERS_NO_QUOTA ? 0 : own;
}

/* NULL, or why this account is not taken. */
static const char *account_check(struct monitor *m, const struct ipc_helper_ACCOUNT *r, struct account *a)
{
	const struct conf *c = m->conf;
	const uint64_t from = c->virtual_uid_base, to = from + c->virtual_uid_count;
	static char seen;

	if (!account_name_valid(r->name))
		return "bad name";
	for (size_t i = 0; i < r->name.n; i++)
		a->name[i] = ch_lower(r->name.p[i]);
	a->name[r->name.n] = 0;
	if (r->uid == 0 || r->uid < c->auth_min_uid || r->uid >= UINT32_MAX || r->gid == 0 || r->gid >= UINT32_MAX)
		return "uid or gid out of range";
	if ((r->virtual == 1) != (r->uid >= from && r->uid < to))
		return "uid on the wrong side of the reserved range";
	a->uid = (uid_t)r->uid;
	a->gid = (gid_t)r->gid;
	if (r->virtual && r->gid != r->uid)
		return "a group that is not the user's own";
	const char *why = r->virtual ? NULL : etcpasswd_denies(m->accounts->passwd, str_c(a->name), a->uid, a->gid, r->home, c->auth_min_uid);
	if (why)
		return why;
	a->flags = (r->virtual ? ACCOUNT_F_VIRTUAL : etcpasswd_has(m->accounts->passwd, str_c(a->name)) ? 0u : ACCOUNT_F_SERVICE) |
		   (r->disabled ? ACCOUNT_F_DISABLED : 0u);
	a->quota_bytes = quota_effective(r->quota, c->quota_storage);
	a->quota_count = quota_effective(r->quota_count, c->quota_messages);
	if (!r->virtual && r->home.n >= sizeof a->home)
		return "home too long";
	snprintf(a->home, sizeof a->home, "%.*s", STR_ARG(r->home));
	for (size_t n = strlen(a->home); n > 1 && a->home[n - 1] == '/'; n--)	/* "/home/joe/" is the same place */
		a->home[n - 1] = 0;
	if (place_account(c, a) < 0)
		return "home or maildir path too long";
	if (map_set(m->accounts->names, str_c(a->name), &seen))
		return "name twice";
	if (map_set(m->accounts->uids, str_n(&a->uid, sizeof a->uid), &seen))
		return "uid twice: every mail user needs one of their own";
	return NULL;
}

static void account_add(struct monitor *m, const struct ipc_helper_ACCOUNT *r)
{
	struct accounts_state *s = m->accounts;
	struct account a = { 0 }, again;
	struct buf value;
	struct err e = { 0 };
	const char *why = account_check(m, r, &a);

	buf_init(&value, 8192);
	if (!why) {
		/* What a reader would refuse is not written. */
		account_format(&a, &value);
		if (account_parse(str_c(a.name), buf_view(&value), &again, &e) < 0)
			why = e.text;
	}
	buf_fini(&value);
	if (why) {
		if (s->refused++ < 20)
			log_warning("account %.*s is left out: %s", STR_ARG(r->name), why);
		return;
	}
	if (s->n == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 64;
		s->list = xrealloc(s->list, s->cap * sizeof *s->list);
	}
	s->list[s->n++] = a;
}

/* --- since when there is an account of the system --- */

/* When the list that serves was installed: who is not in it was none then. */
static unsigned long long installed_at(const struct monitor *m)
{
	struct stat st;
	char path[1100];

	file_path(m, "accounts.cdb", path);
	return stat(path, &st) == 0 && st.st_mtime > 0 ? (unsigned long long)st.st_mtime : 0;
}

/* A name may be given again, to somebody else: what was made for the one before is not for this one. Who has another uid has had it for a moment only, in which
 * something may have been made for it. Of a list that is damaged, or the first, nothing is known. */
static void since_take(struct monitor *m)
{
	struct accounts_state *s = m->accounts;
	const unsigned long long installed = installed_at(m), moment = (unsigned long long)clock_wall() - MOMENT_S;

	for (size_t i = 0; s->cdb && i < s->n; i++) {
		struct account *a = &s->list[i], old;
		struct err e = { 0 };

		if (a->flags & ACCOUNT_F_VIRTUAL)
			continue;
		if (accounts_get(s->cdb, str_c(a->name), 0, &old, &e) == 0)
			a->since = old.uid == a->uid && !(old.flags & ACCOUNT_F_VIRTUAL) ? old.since : moment;
		else if (e.code == ERR_NOENT)
			a->since = installed;
	}
}

/* --- installing --- */

static int install(struct monitor *m, struct err *e)
{
	struct accounts_state *s = m->accounts;
	struct cdbwrite *w;
	char path[1100];
	int rc;

	file_path(m, "accounts.cdb", path);
	if (cdbwrite_begin(path, &w, e) < 0)
		return -1;
	rc = accounts_put_marker(w, e);
	for (size_t i = 0; i < s->n && rc >= 0; i++) {
		struct buf value;

		buf_init(&value, 8192);
		account_format(&s->list[i], &value);
		rc = cdbwrite_add(w, str_c(s->list[i].name), buf_view(&value), e);
		buf_fini(&value);
	}
	if (rc < 0) {
		cdbwrite_abort(&w);
		return -1;
	}
	return cdbwrite_commit(&w, 0644, 0, 0, e);
}

static void homes_make(struct monitor *m)
{
	struct accounts_state *s = m->accounts;
	struct stat st;

	for (size_t i = 0; i < s->n; i++) {
		const struct account *a = &s->list[i];
		struct err e = { 0 };

		if ((a->flags & ACCOUNT_F_VIRTUAL) && lstat(a->home, &st) < 0 && errno == ENOENT &&
		    dir_make(a->home, 0700, a->uid, a->gid, &e) < 0)
			log_error("home of %s: %s", a->name, e.text);
	}
}

/* --- name services that are away --- */

struct missing {
	const struct monitor *m;
	size_t had, gone;	/* accounts of name services, by the list that serves; of those, not in the new one */
};

static int miss_record(void *ctx, struct str key, struct str value)
{
	struct missing *x = ctx;
	struct account a;
	struct err e = { 0 };

	if (account_parse(key, value, &a, &e) < 0 || !(a.flags & ACCOUNT_F_SERVICE) || a.uid < x->m->conf->auth_min_uid)
		return 0;
	x->had++;
	x->gone += map_get(x->m->accounts->names, key) == NULL;
	return 0;
}

/* Is the new list one to install? A service that broke off may have hidden any account, and many that are away say nothing of it. */
static int services_check(struct monitor *m, struct str trouble, struct err *e)
{
	struct accounts_state *s = m->accounts;
	struct missing x = { .m = m };

	if (!m->conf->auth_system_accounts)
		return 0;
	if (s->cdb && cdbfile_each(s->cdb, miss_record, &x, e) < 0) {
		damaged(s, e->text);
		err_clear(e);
	}
	if (trouble.n && (x.gone || !s->cdb))
		return err_set(e, ERR_TEMP, 0, "%.*s; %zu accounts of name services would be missing", STR_ARG(trouble), x.gone);
	if (x.gone && x.gone == x.had)
		return err_set(e, ERR_TEMP, 0, "name services list none of the %zu accounts that they had (if that is right: remove accounts.cdb, start authd again)",
			       x.gone);
	if (trouble.n)
		log_warning("%.*s; no account is missing", STR_ARG(trouble));
	return 0;
}

/* --- a gathering --- */

/* It is tried again, but not told again. */
static void failed(struct monitor *m, const char *why)
{
	struct accounts_state *s = m->accounts;

	if (strcmp(s->told, why) != 0)
		log_error("gather: %s; the accounts stay as they were", why);
	snprintf(s->told, sizeof s->told, "%s", why);
}

static void gather_end(struct monitor *m, bool ok)
{
	struct accounts_state *s = m->accounts;
	struct waiter w[WAITERS_MAX];
	const size_t n = s->n_early;

	memcpy(w, s->waiters, sizeof w);
	s->n_waiters -= n;
	memmove(s->waiters, s->waiters + n, s->n_waiters * sizeof *w);
	s->n_early = 0;
	ipc_chan_free(&s->ch);
	timer_del(&s->timer);
	map_free(&s->names);
	map_free(&s->uids);
	etcpasswd_free(&s->passwd);
	free(s->list);
	s->list = NULL;
	s->n = s->cap = s->refused = 0;
	s->again_ms = ok ? 0 : clock_mono_ms() + AGAIN_MS;
	if (ok)
		s->told[0] = 0;
	for (size_t i = 0; i < n; i++)
		w[i].fn(w[i].ctx, ok);
	if (s->again)
		gather_start(m);
}

static void on_gathered(struct monitor *m, const struct ipc_helper_GATHERED *r)
{
	struct accounts_state *s = m->accounts;
	struct err e = { 0 };
	bool ok = false;

	if (r->error.n)
		(void)!err_set(&e, ERR_TEMP, 0, "%.*s", STR_ARG(r->error));
	else if (r->count != s->n + s->refused)
		(void)!err_set(&e, ERR_TEMP, 0, "%llu accounts announced, %zu came", (unsigned long long)r->count, s->n + s->refused);
	else if (services_check(m, r->trouble, &e) == 0) {
		since_take(m);
		(void)!install(m, &e);
	}
	if (e.code != ERR_NONE) {
		failed(m, e.text);
	} else {
		reopen(m);
		homes_make(m);
		counts_make(m);
		log_info("accounts: %zu installed, %zu left out", s->n, s->refused);
		sessions_check_accounts(m);
		ok = true;
	}
	gather_end(m, ok);
}

static void on_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct monitor *m = ctx;

	if (type == IPC_helper_ACCOUNT && m->accounts->n + m->accounts->refused < USERS_MAX)
		account_add(m, msg);
	else if (type == IPC_helper_GATHERED)
		on_gathered(m, msg);
}

static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct monitor *m = ctx;

	failed(m, why->text);
	gather_end(m, false);
}

static void on_timeout(void *ctx)
{
	struct monitor *m = ctx;

	failed(m, "it took too long");
	if (m->accounts->pid)	/* else it is reaped, and a child of its own has the channel: the number may be another's by now */
		(void)kill(m->accounts->pid, SIGKILL);
	gather_end(m, false);
}

bool accounts_reaped(struct monitor *m, pid_t pid)
{
	if (m->accounts->pid != pid)
		return false;
	m->accounts->pid = 0;
	return true;
}

static void watch_note(struct monitor *m, struct stat out[WATCHED])
{
	char users[1100];
	const char *const names[WATCHED] = { "/etc/passwd", users };

	file_path(m, "users", users);
	memset(out, 0, WATCHED * sizeof *out);
	for (int i = 0; i < WATCHED; i++)
		if (stat(names[i], &out[i]) < 0)
			memset(&out[i], 0, sizeof out[i]);
}

static int gather_begin(struct monitor *m, struct err *e)
{
	static const uint16_t allowed[] = { IPC_helper_READY, IPC_helper_ACCOUNT, IPC_helper_GATHERED };
	struct accounts_state *s = m->accounts;
	char path[1100];
	int fd;

	file_path(m, "users", path);
	/* Opened here: the file is root's alone, the reader is not root. */
	CLEANUP_FD int users = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (users < 0 && errno == ENOENT)
		users = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (users < 0)
		return err_set(e, ERR_TEMP, errno, "%s", path);
	if (helpers_spawn(m, HELPER_GATHER, &s->pid, &fd, e) < 0)
		return -1;
	s->ch = ipc_chan_new(m->loop, fd, &ipc_helper, on_message, on_closed, m);
	ipc_chan_allow(s->ch, (struct ipc_allow){ allowed, ARRAY_LEN(allowed) });
	const struct ipc_helper_GATHER g = { .min_uid = m->conf->auth_min_uid, .system = m->conf->auth_system_accounts };
	return ipc_send(s->ch, IPC_helper_GATHER, &g, 1, users, e);
}

static void gather_start(struct monitor *m)
{
	struct accounts_state *s = m->accounts;
	struct err e = { 0 };

	s->again = false;
	s->n_early = s->n_waiters;
	s->names = map_new();
	s->uids = map_new();
	watch_note(m, s->seen);
	if (etcpasswd_read("/etc/passwd", &s->passwd, &e) < 0 || gather_begin(m, &e) < 0) {
		failed(m, e.text);
		gather_end(m, false);
		return;
	}
	s->timer = loop_timer(m->loop, GATHER_MS, on_timeout, m);
}

void accounts_refresh(struct monitor *m, accounts_done_fn *done, void *ctx)
{
	struct accounts_state *s = m->accounts;

	if (done && s->n_waiters == WAITERS_MAX) {
		done(ctx, false);
		return;
	}
	if (done)
		s->waiters[s->n_waiters++] = (struct waiter){ done, ctx };
	s->told[0] = 0;
	if (s->names)
		s->again = true;
	else
		gather_start(m);
}

void accounts_tick(struct monitor *m)
{
	struct stat now[WATCHED];

	if (m->accounts->names)
		return;
	watch_note(m, now);
	for (int i = 0; i < WATCHED; i++) {
		const struct stat *a = &now[i], *b = &m->accounts->seen[i];

		if (a->st_ino != b->st_ino || a->st_size != b->st_size || a->st_mtim.tv_sec != b->st_mtim.tv_sec ||
		    a->st_mtim.tv_nsec != b->st_mtim.tv_nsec) {
			accounts_refresh(m, NULL, NULL);
			return;
		}
	}
	if (m->accounts->again_ms && clock_mono_ms() >= m->accounts->again_ms)
		gather_start(m);
}

void accounts_init(struct monitor *m)
{
	m->accounts = xzalloc(sizeof *m->accounts);
	reopen(m);
	counts_make(m);
	gather_start(m);
}
