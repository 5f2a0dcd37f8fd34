/* The suite's processes, from /proc: told by where their program stands, named by their title. */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/postern/proc_files.h"
#include "admin/postern/status.h"
#include "base/num.h"
#include "base/str.h"

enum { START_FIELD = 20 /* of /proc/PID/stat, behind the name */ };

/* Two words at most: "smtpd: front" of "smtpd: front 192.0.2.1 smtp", "spawn: programs". */
static void role_of(struct str title, char *out, size_t size)
{
	struct str rest = title, first = str_split(&rest, ' '), second = str_split(&rest, ' ');

	if (first.n > 0 && first.p[first.n - 1] == ':' && second.n > 0)
		(void)snprintf(out, size, "%.*s %.*s", STR_ARG(first), STR_ARG(second));
	else
		(void)snprintf(out, size, "%.*s", STR_ARG(first));
	/* Titles that go on in words: "authd: key worker", "filterd: milter template". */
	static const char *const go_on[] = { "key", "shared", "milter", "spamd", "scoring" };
	const struct str third = str_split(&rest, ' ');
	bool goes_on = false;

	for (size_t i = 0; i < ARRAY_LEN(go_on); i++)
		goes_on |= str_eq(second, str_c(go_on[i]));
	if (goes_on && third.n > 0)
		(void)snprintf(out + strlen(out), size - strlen(out), " %.*s", STR_ARG(third));
}

static uint64_t up_seconds(struct str stat)
{
	struct str rest = str_from(stat, (size_t)(str_rchr(stat, ')') + 2)), word;
	uint64_t ticks = 0, now = 0;

	for (int i = 0; i < START_FIELD && str_token(&rest, " ", &word); i++)
		if (i == START_FIELD - 1)
			(void)!num_parse(word, 0, UINT64_MAX, &ticks);
	FILE *f = fopen("/proc/uptime", "re");
	char text[64] = "";

	if (f && fgets(text, sizeof(text), f)) {
		struct str t = str_c(text);
		(void)!num_parse(str_split(&t, '.'), 0, UINT64_MAX, &now);
	}
	if (f)
		fclose(f);
	const uint64_t started = ticks / (uint64_t)sysconf(_SC_CLK_TCK);

	return now > started ? now - started : 0;
}

/* Its own memory, and its part of what it shares. */
static uint64_t memory_of(struct str rollup)
{
	struct str line;

	while (str_token(&rollup, "\n", &line)) {
		struct str word;
		uint64_t kb;
		if (!str_starts(line, STR("Pss:")))
			continue;
		line = str_from(line, 4);
		if (str_token(&line, " ", &word) && num_parse(word, 0, UINT64_MAX / 1024, &kb) == 0)
			return kb * 1024;
	}
	return 0;
}

static struct status_role *role_row(struct status *s, const char *name, const char *user)
{
	for (size_t i = 0; i < s->n_roles; i++)
		if (strcmp(s->roles[i].name, name) == 0 && strcmp(s->roles[i].user, user) == 0)
			return &s->roles[i];
	if (s->n_roles == STATUS_ROLES_MAX)
		return NULL;
	struct status_role *r = &s->roles[s->n_roles++];

	*r = (struct status_role){ 0 };
	(void)snprintf(r->name, sizeof(r->name), "%s", name);
	(void)snprintf(r->user, sizeof(r->user), "%s", user);
	return r;
}

/* The owner of /proc/PID is root where a process is not dumpable: its own words count. */
static void user_name(struct str status, char *out, size_t size)
{
	struct str line, word;
	uint64_t uid = UINT32_MAX;

	while (str_token(&status, "\n", &line))
		if (str_starts(line, STR("Uid:"))) {
			line = str_from(line, 4);
			if (str_token(&line, "\t ", &word) && num_parse(word, 0, UINT32_MAX, &uid) < 0)
				return;
			break;
		}
	const struct passwd *pw = getpwuid((uid_t)uid);

	if (pw)
		(void)snprintf(out, size, "%s", pw->pw_name);
	else
		(void)snprintf(out, size, "%u", (unsigned)uid);
}

static void add(struct status *s, pid_t pid, struct buf *b)
{
	char role[64], user[33] = "";
	struct str title = proc_file(pid, "cmdline", b);

	for (size_t i = 0; i < title.n; i++)
		if (b->p[i] == '\0')
			b->p[i] = ' ';
	role_of(str_trim(title), role, sizeof(role));
	/* A session's process belongs to the mail user: one row for all of them. */
	const bool session = strstr(role, ": session") != NULL;

	user_name(proc_file(pid, "status", b), user, sizeof(user));
	struct status_role *r = role_row(s, role, session ? "(mail users)" : user);

	if (!r)
		return;
	const uint64_t up = up_seconds(proc_file(pid, "stat", b));

	r->bytes += memory_of(proc_file(pid, "smaps_rollup", b));
	if (r->n++ == 0 || up > r->up_s) {
		r->up_s = up;
		r->pid = pid;
	}
	s->processes++;
	s->up_s = up > s->up_s ? up : s->up_s;
}

static int by_pid(const void *a, const void *b)
{
	const struct status_role *x = a, *y = b;

	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

struct look {
	struct status *s;
	const char *dir;
	struct buf b;
};

static void on_process(void *ctx, pid_t pid)
{
	struct look *l = ctx;

	if (pid != getpid() && proc_stands_in(pid, l->dir))
		add(l->s, pid, &l->b);
}

void status_processes(struct status *s, const char *dir)
{
	struct look l = { .s = s, .dir = dir };

	buf_init(&l.b, PROC_FILE_MAX + 1);
	proc_each(on_process, &l);
	buf_fini(&l.b);
	qsort(s->roles, s->n_roles, sizeof(s->roles[0]), by_pid);
}
