/* postern-user: the suite's own users and their passwords. Works on the files under a lock, then tells authd, which installs
 * the accounts and ends the sessions of users whose password or rights changed. Without a running authd the files are all there is to do. */
#include <getopt.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "authd/passfile.h"
#include "authd/user_app.h"
#include "authd/user_forward.h"
#include "authd/user_password.h"
#include "authd/user_remove.h"
#include "authd/user_show.h"
#include "authd/user_store.h"
#include "base/enc.h"
#include "base/near.h"
#include "base/num.h"
#include "ipc/ask.h"
#include "ipc/control.h"
#include "os/confine.h"
#include "os/os.h"

enum { EXIT_USAGE = 64, ANSWER_MS = 60000 };

struct options {
	const char *file, *scheme;
	bool from_stdin, prompt, keep_mail, json, quiet;
	const char *forward;		/* where mail for a removed user goes */
	struct app_options app;
};

struct run {
	struct options o;
	struct conf *conf;
	struct user_store s;
	char name[ACCOUNT_NAME_MAX + 1];	/* of the command, folded */
	const char *arg;			/* what comes behind it */
	bool end_sessions;
	struct app_made made;
};

/* --- names and passwords --- */

static int name_take(struct run *r, struct str given, struct err *e)
{
	if (!account_name_valid(given))
		return err_set(e, ERR_INPUT, 0, "%.*s: not a name (letters, digits, . _ - + and one @)", STR_ARG(given));
	for (size_t i = 0; i < given.n; i++)
		r->name[i] = ch_lower(given.p[i]);
	r->name[given.n] = 0;
	return 0;
}

/* Make the record of password and put it into the table. */
static int password_put(struct run *r, struct str name, struct str password, struct err *e)
{
	struct buf value;
	bool scram = false;
	int rc;

	buf_init(&value, PASS_RECORD_MAX);
	rc = pass_record_make(password, r->o.scheme, &value, &scram, e);
	if (rc == 0) {
		user_store_password(&r->s, name, buf_view(&value));
		if (!scram)
			fprintf(stderr, "postern-user: %.*s: this password cannot be used with SCRAM (control or private characters)\n",
				STR_ARG(name));
	}
	buf_wipe(&value);
	buf_fini(&value);
	return rc;
}

static int password_set(struct run *r, struct err *e)
{
	struct buf password;
	int rc;

	buf_init(&password, PASSWORD_MAX + 2);
	if (!r->o.from_stdin && !r->o.prompt && !isatty(0))
		rc = err_set(e, ERR_INPUT, 0, "say where the password comes from: --password-stdin or -p");
	else
		rc = user_password_take(r->o.from_stdin, &password, e);
	if (rc == 0)
		rc = password_put(r, str_c(r->name), buf_view(&password), e);
	buf_wipe(&password);
	buf_fini(&password);
	return rc;
}

static struct user_row *own_user(struct run *r, struct err *e)
{
	struct user_row *u = users_find(&r->s.users, str_c(r->name));

	if (u && !u->system)
		return u;
	if (!strchr(r->name, '@') && getpwnam(r->name))
		err_set(e, ERR_NOENT, 0, "%s is an account of the system: use passwd(1), usermod(8)", r->name);
	else
		err_set(e, ERR_NOENT, 0, "%s: no such user", r->name);
	return NULL;
}

/* --- commands: check, change the tables; the frame saves and tells authd --- */

static int user_make(struct run *r, struct str name, struct err *e)
{
	struct account a;
	struct stat st;
	uint32_t uid;

	if (users_find(&r->s.users, name))
		return err_set(e, ERR_EXISTS, 0, "%.*s exists", STR_ARG(name));
	if (str_chr(name, '@') < 0 && getpwnam(arena_cstr(r->s.arena, name)))
		return err_set(e, ERR_EXISTS, 0, "%.*s is an account of the system", STR_ARG(name));
	if (user_store_uid(&r->s, &uid, e) < 0)
		return -1;
	const struct user_row row = { .name = arena_str(r->s.arena, name), .uid = uid };
	if (user_store_account(&r->s, &row, &a, e) < 0)
		return -1;
	if (lstat(a.home, &st) == 0 && st.st_uid != uid)
		return err_set(e, ERR_EXISTS, 0, "%s is there already and belongs to uid %u: move it away, or give it to uid %u first", a.home,
			       (unsigned)st.st_uid, uid);
	*users_append(&r->s.users, r->s.arena) = row;
	r->s.users_changed = true;
	return 0;
}

/* Of the users that were added: when all that can be refused was accepted, since a home that stays without its user keeps the uid of one who was never made. */
static int homes_make(struct run *r, size_t before, struct err *e)
{
	struct account a;

	for (size_t i = before; i < r->s.users.n; i++)
		if (!r->s.users.v[i].system &&
		    (user_store_account(&r->s, &r->s.users.v[i], &a, e) < 0 || dir_make(a.home, 0700, a.uid, a.gid, e) < 0))
			return -1;
	return 0;
}

/* An account of another domain can log in, and gets no mail: most often the name was mistyped. */
static void note_domain(const struct run *r)
{
	const struct conf_list ours = r->conf->virtual_mailbox_domains;
	const char *const at = strchr(r->name, '@');

	for (size_t i = 0; at && i < ours.n; i++)
		if (str_case_eq(str_c(ours.v[i]), str_c(at + 1)) || strpbrk(ours.v[i], ":/"))
			return;
	if (at && !r->o.quiet)
		fprintf(stderr, "postern-user: note: %s is not in virtual_mailbox_domains: no mail comes for %s\n", at + 1, r->name);
}

static int cmd_add(struct run *r, struct err *e)
{
	if (user_make(r, str_c(r->name), e) < 0 || password_set(r, e) < 0)
		return -1;
	note_domain(r);
	return 0;
}

/* Nobody logs in as the owner of the public folders: there is no password. */
static int cmd_public(struct run *r, struct err *e)
{
	return user_make(r, STR("_postern_public"), e);
}

static int cmd_passwd(struct run *r, struct err *e)
{
	r->end_sessions = true;
	return own_user(r, e) ? password_set(r, e) : -1;
}

/* NAME:PASSWORD lines. */
static int cmd_import(struct run *r, struct err *e)
{
	char *line = NULL;
	size_t cap = 0, added = 0, line_no = 0;
	ssize_t n;
	int rc = 0;

	while (rc == 0 && (n = getline(&line, &cap, stdin)) > 0) {
		struct str rest = str_n(line, (size_t)n), name;

		line_no++;
		if (rest.p[rest.n - 1] == '\n')
			rest.n--;
		if (rest.n == 0 || rest.p[0] == '#')
			continue;
		name = str_split(&rest, ':');
		rc = rest.p ? name_take(r, name, e) : err_set(e, ERR_INPUT, 0, "a line without \":\"");
		if (rc < 0)
			break;
		rc = user_make(r, str_c(r->name), e);
		if (rc == 0)
			rc = password_put(r, arena_str(r->s.arena, str_c(r->name)), rest, e);
		added++;
	}
	if (line)
		mem_wipe(line, cap);
	free(line);
	if (rc < 0)
		return err_wrap(e, "line %zu", line_no);
	if (!r->o.quiet)
		printf("%zu users added\n", added);
	return 0;
}

/* The user's row; made for an account of the system that has none yet. */
static struct user_row *row_for(struct run *r, struct err *e)
{
	struct user_row *u = users_find(&r->s.users, str_c(r->name));

	if (!u && !strchr(r->name, '@') && getpwnam(r->name)) {
		u = users_append(&r->s.users, r->s.arena);
		*u = (struct user_row){ .name = arena_str(r->s.arena, str_c(r->name)), .system = true };
	}
	if (!u)
		err_set(e, ERR_NOENT, 0, "%s: no such user", r->name);
	return u;
}

static int able_set(struct run *r, bool disabled, struct err *e)
{
	struct user_row *const u = row_for(r, e);

	if (!u)
		return -1;
	u->disabled = disabled;
	r->s.users_changed = true;
	r->end_sessions = disabled;
	return 0;
}

static int cmd_disable(struct run *r, struct err *e)
{
	return able_set(r, true, e);
}

static int cmd_enable(struct run *r, struct err *e)
{
	return able_set(r, false, e);
}

static int size_take(const char *text, uint64_t *out, struct err *e)
{
	struct str s = str_c(text);
	unsigned shift = 0;

	if (s.n) {
		const char last = ch_lower(s.p[s.n - 1]);

		shift = last == 'k' ? 10 : last == 'm' ? 20 : last == 'g' ? 30 : last == 't' ? 40 : 0;
		s.n -= shift ? 1 : 0;
	}
	if (num_parse(s, 0, (UINT64_MAX / 2) >> shift, out) < 0)
		return err_set(e, ERR_INPUT, 0, "%s: not a size (bytes, or with k, m, g, t)", text);
	*out <<= shift;
	return 0;
}

/* "2g", "2g,100000": bytes and messages; "none": no limit whatever the default; "default" or 0. */
static int quota_take(const char *text, unsigned long long *bytes_out, unsigned long long *count_out, struct err *e)
{
	const char *const comma = strchr(text, ',');
	char size[64];
	uint64_t bytes = 0, count = 0;

	if (strcmp(text, "none") == 0) {
		*bytes_out = *count_out = USERS_NO_QUOTA;
		return 0;
	}
	snprintf(size, sizeof size, "%.*s", comma ? (int)(comma - text) : (int)strlen(text), text);
	if (strcmp(text, "default") != 0 && size_take(size, &bytes, e) < 0)
		return -1;
	if (comma && num_parse(str_c(comma + 1), 0, USERS_NO_QUOTA, &count) < 0)
		return err_set(e, ERR_INPUT, 0, "%s: not a number of messages", comma + 1);
	*bytes_out = bytes;
	*count_out = count;
	return 0;
}

static int cmd_quota(struct run *r, struct err *e)
{
	unsigned long long bytes, count;

	if (quota_take(r->arg, &bytes, &count, e) < 0)
		return -1;
	struct user_row *u = row_for(r, e);
	if (!u)
		return -1;
	u->quota_bytes = bytes;
	u->quota_count = count;
	r->s.users_changed = true;
	r->end_sessions = true;		/* they keep the limits that they began with */
	return 0;
}

/* --- removal --- */

static int cmd_del(struct run *r, struct err *e)
{
	struct user_row *u = own_user(r, e);

	if (!u)
		return -1;
	user_store_password(&r->s, str_c(r->name), (struct str){ 0 });
	user_app_forget(&r->s, r->name);
	users_remove(&r->s.users, u);
	r->s.users_changed = true;
	r->end_sessions = true;
	return 0;
}

static int cmd_list(struct run *r, struct err *e)
{
	return user_list(&r->s, r->conf, r->o.json, e);
}

static int cmd_show(struct run *r, struct err *e)
{
	return user_show(&r->s, r->conf, r->name, r->o.json, e);
}

/* --- failed logins --- */

/* Whoever mistyped too often, or shares an address with who did, need not wait. */
static int cmd_forgive(struct run *r, struct err *e)
{
	const struct str args[] = { str_c(r->name), str_c(r->arg) };
	uint8_t addr[16];
	struct buf said;

	if (addr_parse(args[1], addr) < 0)
		return err_set(e, ERR_INPUT, 0, "%s: not an address (192.0.2.1, 2001:db8::1; the log has it: rip=)", r->arg);
	if (geteuid() != 0)
		return err_set(e, ERR_DENIED, 0, "only root may forgive failed logins");
	buf_init(&said, 256);
	const int rc = control_ask(r->conf->run_directory, "auth/control", "forgive", args, 2, NULL, NULL, &said, e);
	if (rc == 0 && !r->o.quiet)
		printf("%s from %s %s\n", r->name, r->arg, said.n ? said.p : "");
	buf_fini(&said);
	return rc == 0 ? 0 : -1;
}

/* --- telling authd --- */

/* 0: done, or authd does not run; -1: it could not do it. */
static int tell_authd(struct run *r, const char *word, struct err *e)
{
	struct arena *a = r->s.arena;
	struct str names[1] = { str_c(r->name) };
	const struct ipc_control_REQUEST q = { .word = str_c(word), .args = { names, r->end_sessions ? 1 : 0 } };
	uint16_t type = 0;
	uint32_t id;
	void *msg;
	int fd;
	CLEANUP_FD int s = sock_unix_connect(arena_printf(a, "%s/auth/control", r->conf->run_directory), SOCK_SEQPACKET, e);

	if (s < 0)
		return 0;
	if (ipc_send_fd(s, &ipc_control, IPC_control_REQUEST, &q, 1, -1, e) < 0)
		return -1;
	while (type != IPC_control_END)
		if (ipc_recv_fd(s, &ipc_control, ANSWER_MS, a, &type, &id, &msg, &fd, e) < 0)
			return err_wrap(e, "authd");
	const struct ipc_control_END *end = msg;
	return end->code ? err_set(e, ERR_TEMP, 0, "authd: %.*s", STR_ARG(end->text)) : 0;
}

/* --- application passwords --- */

/* The user exists: a password for nobody would become that of who is given the name later. */
static int app_user(struct run *r, struct err *e)
{
	const struct user_row *u = users_find(&r->s.users, str_c(r->name));

	if ((u && !u->system) || (!strchr(r->name, '@') && getpwnam(r->name)))
		return 0;
	return err_set(e, ERR_NOENT, 0, "%s: no such user", r->name);
}

/* Of somebody who has gone there may be some, to be listed and taken away; of a name that was mistyped there are none. */
static int app_user_ever(struct run *r, struct err *e)
{
	return user_app_any(&r->s, r->name) ? 0 : app_user(r, e);
}

static int cmd_app_add(struct run *r, struct err *e)
{
	return app_user(r, e) < 0 ? -1 : user_app_add(&r->s, r->name, &r->o.app, &r->made, e);
}

static int cmd_app_del(struct run *r, struct err *e)
{
	r->end_sessions = true;
	return app_user_ever(r, e) < 0 ? -1 : user_app_del(&r->s, r->name, &r->o.app, e);
}

static int cmd_app_main(struct run *r, struct err *e)
{
	r->end_sessions = strcmp(r->arg, "webmail") == 0;
	return app_user(r, e) < 0 ? -1 : user_app_main(&r->s, r->name, r->arg, e);
}

static int cmd_app_list(struct run *r, struct err *e)
{
	if (geteuid() != 0)
		return err_set(e, ERR_DENIED, 0, "only root may read passwd.cdb");
	if (tell_authd(r, "app-uses", e) < 0 || user_store_passwords_read(&r->s, e) < 0 || (r->name[0] && app_user_ever(r, e) < 0))
		return -1;
	return user_app_list(&r->s, r->name, &r->o.app, e);
}

/* --- the frame --- */

static const struct command {
	const char *word;	/* one, or two */
	int (*fn)(struct run *r, struct err *e);
	bool name, arg, write, removing;
	const char *usage;
} commands[] = {
	{ "add", cmd_add, true, false, true, false, "add NAME [-p | --prompt | --password-stdin] [--scheme yescrypt|sha512|plain]" },
	{ "public", cmd_public, false, false, true, false, "public                     makes the owner of the public folders" },
	{ "passwd", cmd_passwd, true, false, true, false, "passwd NAME [-p | --prompt | --password-stdin] [--scheme …]" },
	{ "del", cmd_del, true, false, true, true, "del NAME [--keep-mail] [--forward ADDRESS]" },
	{ "disable", cmd_disable, true, false, true, false, "disable NAME" },
	{ "enable", cmd_enable, true, false, true, false, "enable NAME" },
	{ "quota", cmd_quota, true, true, true, false, "quota NAME SIZE[,MESSAGES]|none|default" },
	{ "forgive", cmd_forgive, true, true, false, false, "forgive NAME ADDRESS          failed logins from there: no more waiting" },
	{ "list", cmd_list, false, false, false, false, "list [--json]" },
	{ "show", cmd_show, true, false, false, false, "show NAME [--json]" },
	{ "import", cmd_import, false, false, true, false, "import [--scheme …] < FILE     lines NAME:PASSWORD" },
	{ "app-password add", cmd_app_add, true, false, true, false, "app-password add NAME --name APP [--service imap,pop3,smtp] [--expires DAYSd|YYYY-MM-DD] [--json]" },
	{ "app-password list", cmd_app_list, true, false, false, false, "app-password list NAME | --all [--json]" },
	{ "app-password del", cmd_app_del, true, false, true, false, "app-password del NAME --name APP | --all" },
	{ "app-password main", cmd_app_main, true, true, true, false, "app-password main NAME any|webmail     where the main password serves" },
};

static int usage(FILE *to)
{
	fprintf(to, "usage: postern-user [-c FILE] [-q | --quiet] COMMAND\n");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		fprintf(to, "  %s\n", commands[i].usage);
	return to == stdout ? 0 : EXIT_USAGE;
}

static int run_command(struct run *r, const struct command *c, struct err *e)
{
	struct account removed;
	const bool remove_mail = c->removing && !r->o.keep_mail;

	if (r->o.forward && !c->removing)
		return err_set(e, ERR_INPUT, 0, "--forward is for del");
	if (user_store_open(&r->s, r->conf, c->write, e) < 0)
		return -1;
	if (c->removing) {
		const struct user_row *u = own_user(r, e);

		if (!u || user_store_account(&r->s, u, &removed, e) < 0)
			return -1;
	}
	if (r->o.forward && user_forward_add(r->conf, r->name, r->o.forward, e) < 0)
		return -1;
	const size_t before = r->s.users.n;
	if (c->fn(r, e) < 0 || (c->write && !c->removing && homes_make(r, before, e) < 0) || (c->write && user_store_save(&r->s, c->removing, e) < 0)) {
		if (r->o.forward)
			user_forward_undo(r->conf, r->name, r->o.forward);
		return -1;
	}
	if (!c->write)
		return 0;
	close_fd(&r->s.lock);
	if (r->made.shown[0])
		user_app_print_made(&r->made, r->name, &r->o.app);
	if (tell_authd(r, "users-changed", e) < 0)
		return -1;
	if (c->removing && r->o.keep_mail && !r->o.quiet)
		printf("the mail stays in %s\n", removed.maildir);
	return remove_mail ? user_home_remove(&removed, e) : 0;
}

static const struct option longs[] = {
	{ "password-stdin", no_argument, NULL, 'P' }, { "prompt", no_argument, NULL, 'p' }, { "scheme", required_argument, NULL, 's' },
	{ "forward", required_argument, NULL, 'f' },  { "name", required_argument, NULL, 'n' }, { "service", required_argument, NULL, 'S' },
	{ "expires", required_argument, NULL, 'e' },  { "all", no_argument, NULL, 'a' },
	{ "keep-mail", no_argument, NULL, 'k' },      { "json", no_argument, NULL, 'j' },   { "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },	      { "quiet", no_argument, NULL, 'q' },  { 0 },
};

static void options_get(int argc, char **argv, struct options *o)
{
	int opt;

	*o = (struct options){ .file = conf_default_file(), .scheme = "yescrypt" };
	while ((opt = getopt_long(argc, argv, "c:pq", longs, NULL)) != -1) {
		switch (opt) {
		case 'c': o->file = optarg; break;
		case 'P': o->from_stdin = true; break;
		case 'p': o->prompt = true; break;
		case 's': o->scheme = optarg; break;
		case 'k': o->keep_mail = true; break;
		case 'f': o->forward = optarg; break;
		case 'j': o->json = o->app.json = true; break;
		case 'n': o->app.name = optarg; break;
		case 'S': o->app.services = optarg; break;
		case 'e': o->app.expires = optarg; break;
		case 'a': o->app.all = true; break;
		case 'q': o->quiet = true; break;
		case 'h': exit(usage(stdout));
		case 'V':
			printf("Postern %s\n", POSTERN_VERSION);
			exit(0);
		default: exit(usage(stderr));
		}
	}
}

/* Says what of the call is wrong, before how it goes: n words, c what they begin with. */
static void misused(int n, char **given, const struct command *c)
{
	struct near near;

	if (n == 0)
		return;
	if (c) {
		fprintf(stderr, "postern-user: %s\nusage: postern user %s\n", n <= c->name + c->arg ? "something is missing" : "there is more than it takes", c->usage);
		exit(EXIT_USAGE);
	}
	near_init(&near, str_c(given[0]));
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		near_try(&near, commands[i].word);
	fprintf(stderr, "postern-user: no command \"%s\"%s%s\n", given[0], near_best(&near) ? "; meant is perhaps " : "", near_best(&near) ? near_best(&near) : "");
}

static const struct command *command_get(int argc, char **argv, struct run *r, struct err *e)
{
	const struct command *c = NULL;

	for (size_t i = 0; optind < argc && i < ARRAY_LEN(commands); i++) {
		struct str rest = str_c(commands[i].word);

		if (!str_eq(str_split(&rest, ' '), str_c(argv[optind])) || (rest.p && (optind + 1 >= argc || !str_eq(rest, str_c(argv[optind + 1])))))
			continue;
		c = &commands[i];
		optind += rest.p ? 1 : 0;
		break;
	}
	const bool named = c && c->name && !(c->fn == cmd_app_list && r->o.app.all);
	if (!c || argc - optind != 1 + named + c->arg) {
		misused(argc - optind, argv + optind, c);
		exit(usage(stderr));
	}
	if (named && name_take(r, str_c(argv[optind + 1]), e) < 0)
		return NULL;
	if (c->arg)
		r->arg = argv[optind + 2];
	return c;
}

int main(int argc, char **argv)
{
	static struct run r;
	struct buf problems;
	struct err e = { 0 };
	const struct command *c;

	proc_init(argc, argv);
	options_get(argc, argv, &r.o);
	c = command_get(argc, argv, &r, &e);
	buf_init(&problems, 1 << 20);
	int rc = c ? 0 : -1;
	if (rc == 0 && conf_load(r.o.file, &r.conf, &problems, &e) < 0) {
		fprintf(stderr, "%.*s", (int)problems.n, problems.p ? problems.p : "");
		rc = -1;
	}
	if (rc == 0 && c->write && geteuid() != 0)
		rc = err_set(&e, ERR_DENIED, 0, "only root may change users");
	if (rc == 0) {
		rc = run_command(&r, c, &e);
		user_store_close(&r.s);
	}
	buf_fini(&problems);
	if (rc < 0)
		fprintf(stderr, "postern-user: %s\n", e.text);
	return rc < 0 ? 1 : 0;
}
