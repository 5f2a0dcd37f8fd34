/* postern-mailbox: look at a user's folders, repair them, bring file names up to date before another server takes over, make disposable files anew. Started as
 * root it becomes the user before it opens anything of theirs (uid, gid and mail tree from accounts.cdb); otherwise it works for the caller only. Safe
 * while sessions and deliveries run: every change is made under the folder's lock. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/json.h"
#include "conf/conf.h"
#include "map/accounts.h"
#include "os/os.h"
#include "ipc/ask.h"
#include "store/acl.h"
#include "store/store.h"

enum { EXIT_USAGE = 64, EXIT_NOUSER = 67, EXIT_TEMP = 75, EXIT_CONF = 78, FLUSH_STEP = 1000 };

struct run {
	struct store *s;
	const char *only;	/* folder; NULL: all */
	const char *who, *rights;	/* of share */
	bool quiet, json, dovecot, tty;
	size_t problems;
	unsigned done, folders;
};

typedef int word_fn(struct run *r, struct str name, struct err *e);

/* --- what is said --- */

/* On a terminal: which folder is being worked on. */
static void progress(struct run *r, struct str name)
{
	if (r->tty)
		(void)fprintf(stderr, "\r[%u/%u] %.*s\033[K", r->done, r->folders, (int)(name.n < 60 ? name.n : 60), name.p);
}

static void clear(const struct run *r)
{
	if (r->tty)
		(void)fputs("\r\033[K", stderr);
}

/* {"folder":"INBOX","state":"ok"; the caller adds members and ends it with json_end. */
static void json_begin(struct str name, const char *state)
{
	putchar('{');
	json_field(stdout, "folder", name, true);
	json_field(stdout, "state", str_c(state), false);
}

static void json_end(void)
{
	(void)puts("}");
}

/* Text "FOLDER: what", or a line of JSON. */
static void told(struct run *r, struct str name, const char *state, long long messages)
{
	clear(r);
	if (r->json) {
		json_begin(name, state);
		if (messages >= 0)
			json_number(stdout, "messages", messages, false);
		json_end();
	} else if (!r->quiet && messages >= 0) {
		printf("%.*s: %s, %lld messages\n", STR_ARG(name), state, messages);
	} else if (!r->quiet) {
		printf("%.*s: %s\n", STR_ARG(name), state);
	}
}

/* --- the words --- */

struct saying {
	struct run *r;
	struct str name;
};

static void say(void *ctx, const char *line)
{
	const struct saying *const s = ctx;

	clear(s->r);
	if (!s->r->json) {
		printf("%.*s: %s\n", STR_ARG(s->name), line);
		return;
	}
	json_begin(s->name, "problem");
	json_field(stdout, "text", str_c(line), false);
	json_end();
}

static int word_check(struct run *r, struct str name, struct err *e)
{
	struct saying s = { r, name };
	size_t n;

	if (mbox_verify(r->s, name, say, &s, &n, e) < 0)
		return -1;
	r->problems += n;
	if (n == 0)
		told(r, name, "ok", -1);
	return 0;
}

static int word_repair(struct run *r, struct str name, struct err *e)
{
	struct mbox_status st;
	struct mbox *m;
	int rc;

	if (mbox_open(r->s, name, &m, e) < 0)
		return -1;
	rc = mbox_repair(m, e);
	if (rc == 0 && (rc = mbox_status(m, &st, e)) == 0)
		told(r, name, "repaired", st.messages);
	mbox_close(&m);
	return rc;
}

static int word_rebuild(struct run *r, struct str name, struct err *e)
{
	struct mbox *m;
	int rc;

	if (mbox_open(r->s, name, &m, e) < 0)
		return -1;
	rc = mbox_rebuild(m, e);
	if (rc == 0)
		told(r, name, "rebuilt", -1);
	mbox_close(&m);
	return rc;
}

static int word_flush(struct run *r, struct str name, struct err *e)
{
	bool more = true;
	struct mbox *m;
	unsigned lost = 0;
	int rc = 0;

	if (mbox_open(r->s, name, &m, e) < 0)
		return -1;
	while (rc == 0 && more)
		rc = mbox_flush(m, FLUSH_STEP, &more, e);
	if (rc == 0 && r->dovecot)
		rc = mbox_handback(m, &lost, e);
	if (lost > 0) {
		clear(r);
		(void)fprintf(stderr, "%.*s: %u messages have keywords for which Dovecot has no letter left\n", STR_ARG(name), lost);
	}
	if (rc == 0 && r->json)
		told(r, name, r->dovecot ? "handed back" : "flushed", -1);
	mbox_close(&m);
	return rc;
}

static int word_stat(struct run *r, struct str name, struct err *e)
{
	struct mbox_status st;

	if (store_status(r->s, name, &st, e) < 0)
		return -1;
	clear(r);
	if (!r->json) {
		printf("%-30.*s %8u messages %8u unseen %14llu bytes  uidvalidity %u  uidnext %u  modseq %llu\n", STR_ARG(name), st.messages, st.unseen,
		       (unsigned long long)st.size, st.uidvalidity, st.uidnext, (unsigned long long)st.highestmodseq);
		return 0;
	}
	json_begin(name, "ok");
	json_number(stdout, "messages", st.messages, false);
	json_number(stdout, "unseen", st.unseen, false);
	json_number(stdout, "deleted", st.deleted, false);
	json_number(stdout, "bytes", (long long)st.size, false);
	json_number(stdout, "uidvalidity", st.uidvalidity, false);
	json_number(stdout, "uidnext", st.uidnext, false);
	json_number(stdout, "highestmodseq", (long long)st.highestmodseq, false);
	json_end();
	return 0;
}

/* A line for each entry of the folder's access list. */
static int word_acl(struct run *r, struct str name, struct err *e)
{
	struct arena *a = arena_new(0);
	struct acl_entry *list = NULL;
	const int rc = store_acl_get(r->s, name, a, &list, e);
	struct buf b;

	buf_init(&b, 512);
	clear(r);
	for (; rc == 0 && list; list = list->next) {
		buf_reset(&b);
		acl_rights_format(&b, list->rights, false);
		if (r->json) {
			json_begin(name, "ok");
			json_field(stdout, "identifier", list->id, false);
			json_field(stdout, "kind", list->negative ? STR("negative") : STR("positive"), false);
			json_field(stdout, "rights", buf_view(&b), false);
			json_end();
		} else {
			printf("%-30.*s %s%.*s %s\n", STR_ARG(name), list->negative ? "-" : "", STR_ARG(list->id), b.p);
		}
	}
	buf_fini(&b);
	arena_free(&a);
	return rc;
}

/* What a folder is usually opened for, by a word: a word that is none must not be taken for its letters ("read" has a, which is all rights to give). */
static const struct {
	const char *word, *letters;
} right_words[] = {
	{ "none", "" },
	{ "read", "lrs" },
	{ "write", "lrswite" },
	{ "all", "lrswipkxtea" },
};

/* Letters, each once, or a word. */
static int rights_take(struct str text, uint32_t *rights_out, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(right_words); i++)
		if (str_eq(text, str_c(right_words[i].word)))
			return acl_rights_parse(str_c(right_words[i].letters), rights_out, e);
	for (size_t i = 1; i < text.n; i++)
		if (str_chr(str_n(text.p, i), text.p[i]) >= 0)
			return err_set(e, ERR_INPUT, 0, "\"%.*s\": rights are letters, each once (lrswipkxtea), or read, write, all, none", STR_ARG(str_sub(text, 0, 60)));
	return acl_rights_parse(text, rights_out, e);
}

/* "lr" sets, "+lr" and "-lr" change, "none" removes. */
static int word_share(struct run *r, struct str name, struct err *e)
{
	struct arena *a = arena_new(0);
	const struct str text = str_c(r->rights);
	const enum acl_op op = text.n && text.p[0] == '+' ? ACL_ADD : text.n && text.p[0] == '-' ? ACL_REMOVE : ACL_SET;
	struct acl_entry who;
	uint32_t rights;
	int rc = acl_id_parse(a, str_c(r->who), &who, e);

	if (rc == 0)
		rc = rights_take(str_from(text, op != ACL_SET), &rights, e);
	if (rc == 0)
		rc = store_acl_change(r->s, name, a, &who, op, rights, e);
	arena_free(&a);
	return rc < 0 ? -1 : word_acl(r, name, e);
}

/* With its parents; what is there already stays as it is. */
static int word_create(struct run *r, struct str name, struct err *e)
{
	if (store_acl_create(r->s, name, STR(""), e) < 0 && e->code != ERR_EXISTS)
		return -1;
	told(r, name, "there", -1);
	return 0;
}

static const struct {
	const char *word, *what;
	word_fn *fn;
	unsigned args;		/* behind USER */
	bool one;		/* of the folder that -f names */
} words[] = {
	{ "check", "look for damage; changes nothing", word_check, 0, false },
	{ "repair", "list all files, count all sizes, write journal and index anew", word_repair, 0, false },
	{ "stat", "what each folder holds", word_stat, 0, false },
	{ "flush", "write all flags into file names, and Dovecot's files, for another server", word_flush, 0, false },
	{ "rebuild", "make the disposable files (index, cache, search index) anew", word_rebuild, 0, false },
	{ "acl", "who besides the owner may do what", word_acl, 0, false },
	{ "share", "WHO RIGHTS (letters, read, write, all, none; + or - before them): change that for the folder of -f", word_share, 2, true },
	{ "create", "make the folder of -f", word_create, 0, true },
};

static int usage(FILE *to, int status)
{
	(void)fprintf(to, "usage: postern-mailbox [-q] [-c FILE] [-f FOLDER] [--json] [--dovecot] WORD USER [WHO RIGHTS]\n");
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		(void)fprintf(to, "  %-8s %s\n", words[i].word, words[i].what);
	return status;
}

/* Says what of the call is wrong, before how it goes. */
static int misused(int n, char **given, const struct run *r)
{
	size_t i = 0;

	while (n > 0 && i < ARRAY_LEN(words) && strcmp(given[0], words[i].word) != 0)
		i++;
	if (n > 0 && i == ARRAY_LEN(words))
		(void)fprintf(stderr, "postern-mailbox: no word \"%s\"\n", given[0]);
	else if (n == 1)
		(void)fprintf(stderr, "postern-mailbox: %s: of which user?\n", given[0]);
	else if (n > 0 && words[i].one && !r->only)
		(void)fprintf(stderr, "postern-mailbox: %s: of which folder? (-f FOLDER)\n", given[0]);
	else if (n > 0 && n < 2 + (int)words[i].args)
		(void)fprintf(stderr, "postern-mailbox: %s: to whom, and which rights?\n", given[0]);
	else if (n > 2)
		(void)fprintf(stderr, "postern-mailbox: %s: more words than it takes\n", given[0]);
	return usage(stderr, EXIT_USAGE);
}

/* --- whose --- */

/* For ever: checked by trying to come back. */
static int become(const struct account *a, struct err *e)
{
	if (geteuid() != 0)
		return geteuid() == a->uid ? 0 : err_set(e, ERR_DENIED, 0, "only root may look at the mail of others");
	if (setgroups(0, NULL) < 0 || setresgid(a->gid, a->gid, a->gid) < 0 || setresuid(a->uid, a->uid, a->uid) < 0)
		return err_set(e, ERR_TEMP, errno, "cannot become %s", a->name);
	if (setuid(0) == 0 || seteuid(0) == 0 || geteuid() != a->uid)
		return err_set(e, ERR_BUG, 0, "root could be had again");
	return 0;
}

/* --- all folders, or one --- */

static int one_folder(struct run *r, word_fn *fn, struct str name, struct err *e)
{
	struct err one = { 0 };

	progress(r, name);
	r->done++;
	if (fn(r, name, &one) == 0)
		return 0;
	clear(r);
	(void)fprintf(stderr, "%.*s: %s\n", STR_ARG(name), one.text);
	*e = one;
	return -1;
}

static int each_folder(struct run *r, word_fn *fn, struct err *e)
{
	struct arena *a = arena_new(0);
	struct store_folder *list = NULL;
	int rc = 0;

	if (r->only) {
		rc = one_folder(r, fn, str_c(r->only), e);
	} else if ((rc = store_list(r->s, a, &list, e)) < 0) {
		(void)fprintf(stderr, "postern-mailbox: %s\n", e->text);
	}
	for (const struct store_folder *f = list; f; f = f->next)
		r->folders += f->exists;
	for (const struct store_folder *f = list; f; f = f->next)
		if (f->exists && one_folder(r, fn, f->name, e) < 0)
			rc = -1;	/* the others all the same */
	if (rc == 0 && fn == word_flush && r->dovecot && (rc = store_handback(r->s, e)) < 0)
		(void)fprintf(stderr, "subscriptions: %s\n", e->text);
	clear(r);
	arena_free(&a);
	return rc;
}

/* Did Dovecot keep this mail before us? */
static bool was_dovecots(const char *maildir)
{
	char path[ACCOUNT_PATH_MAX + 32];

	(void)snprintf(path, sizeof(path), "%s/dovecot-uidlist", maildir);
	return access(path, F_OK) == 0;
}

/* --- authd is told to whom anything is open: by a process that is still root, which gets the names through a pipe and reads nothing else of the user's --- */

static int names_to = -1;
static pid_t teller;

static void tell_authd(const struct conf *conf, const struct account *acct, int fd)
{
	struct str args[ACL_GRANTEES_MAX + 1] = { str_c(acct->name) };
	struct err e = { 0 };
	struct buf b;
	size_t n = 1;
	ssize_t got;

	buf_init(&b, 1 << 17);
	for (char part[4096]; (got = read(fd, part, sizeof(part))) > 0;)
		buf_mem(&b, part, (size_t)got);
	struct str names = buf_view(&b);

	if (got < 0 || buf_failed(&b) || !str_starts(names, STR("\n")))
		_exit(EXIT_TEMP);	/* the change failed, and was told */
	names = str_from(names, 1);
	while (names.n && n < ARRAY_LEN(args))
		args[n++] = str_split(&names, '\n');
	if (control_ask(conf->run_directory, "auth/control", "shares", args, n, NULL, NULL, NULL, &e) == 0)
		_exit(0);
	(void)fprintf(stderr, "postern-mailbox: authd hears of it when %s logs in: %s\n", acct->name, e.text);
	_exit(EXIT_TEMP);
}

static void tell_later(const struct conf *conf, const struct account *acct)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return;
	const pid_t pid = fork();

	if (pid == 0) {
		close(p[1]);
		tell_authd(conf, acct, p[0]);
	}
	close(p[0]);
	names_to = p[1];
	teller = pid;
}

/* Rights may be given to who is made later; more often a name was mistyped. */
static void note_stranger(const struct conf *conf, const char *who)
{
	const struct str name = str_c(who + (who[0] == '-'));
	struct account account;
	struct err e = { 0 };

	if (str_case_eq(name, STR("anyone")) || str_case_eq(name, STR("authenticated")))
		return;
	if (account_load(conf->state_directory, name, (uid_t)conf->auth_min_uid, &account, &e) < 0 && e.code == ERR_NOENT)
		(void)fprintf(stderr, "postern-mailbox: note: there is no user %.*s\n", STR_ARG(str_sub(name, 0, ACL_ID_MAX)));
}

static void tell(const struct run *r)
{
	struct err e = { 0 };
	struct buf b;

	if (names_to < 0)
		return;
	buf_init(&b, 1 << 17);
	if (store_acl_grantees(r->s, &b, &e) < 0 || write_all(names_to, "\n", 1, &e) < 0 || write_all(names_to, b.p, b.n, &e) < 0)
		(void)fprintf(stderr, "postern-mailbox: %s\n", e.text);
	buf_fini(&b);
	close_fd(&names_to);
	(void)waitpid(teller, NULL, 0);
}

int main(int argc, char **argv)
{
	static const struct option longs[] = { { "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'V' },
		{ "json", no_argument, NULL, 'j' }, { "dovecot", no_argument, NULL, 'd' }, { NULL, 0, NULL, 0 } };
	const char *conf_file = conf_default_file();
	struct run r = { 0 };
	struct account account;
	struct conf *conf;
	struct err e = { 0 };
	word_fn *fn = NULL;

	for (int o; (o = getopt_long(argc, argv, "c:f:q", longs, NULL)) != -1;) {
		switch (o) {
		case 'c':
			conf_file = optarg;
			break;
		case 'f':
			r.only = optarg;
			break;
		case 'q':
			r.quiet = true;
			break;
		case 'j':
			r.json = true;
			break;
		case 'd':
			r.dovecot = true;
			break;
		case 'h':
			return usage(stdout, 0);
		case 'V':
			(void)printf("postern-mailbox (Postern) %s\n", POSTERN_VERSION);
			return 0;
		default:
			return usage(stderr, EXIT_USAGE);
		}
	}
	for (size_t i = 0; optind + 2 <= argc && i < ARRAY_LEN(words); i++)
		if (strcmp(argv[optind], words[i].word) == 0 && optind + 2 + (int)words[i].args == argc && (r.only || !words[i].one))
			fn = words[i].fn;
	if (fn == NULL)
		return misused(argc - optind, argv + optind, &r);
	const char *const name = argv[optind + 1];

	if (fn == word_share) {
		r.who = argv[optind + 2];
		r.rights = argv[optind + 3];
	}
	if (conf_load(conf_file, &conf, NULL, &e) < 0) {
		(void)fprintf(stderr, "postern-mailbox: %s\n", e.text);
		return EXIT_CONF;
	}
	if (account_load(conf->state_directory, str_c(name), (uid_t)conf->auth_min_uid, &account, &e) < 0) {
		(void)fprintf(stderr, "postern-mailbox: %s: %s\n", name, e.text);
		return e.code == ERR_NOENT ? EXIT_NOUSER : EXIT_TEMP;
	}
	if (fn == word_share && geteuid() == 0) {
		tell_later(conf, &account);
		note_stranger(conf, r.who);
	}
	if (become(&account, &e) < 0) {
		(void)fprintf(stderr, "postern-mailbox: %s: %s\n", name, e.text);
		return e.code == ERR_NOENT ? EXIT_NOUSER : EXIT_TEMP;
	}
	/* Copies of a tree often lack empty directories: they are made again, in a tree that is there. */
	const bool make = fn == word_create || (fn == word_repair && access(account.maildir, F_OK) == 0);

	if (chdir("/") < 0 || store_open(account.maildir, make, &r.s, &e) < 0) {
		(void)fprintf(stderr, "postern-mailbox: %s: %s%s\n", name, e.code == ERR_NOENT ? "no mail yet: " : "", e.text);
		return e.code == ERR_NOENT ? EXIT_NOUSER : EXIT_TEMP;
	}
	store_quota_limits(r.s, &(struct quota){ account.quota_bytes, account.quota_count });
	r.tty = !r.quiet && isatty(STDERR_FILENO);
	r.dovecot |= was_dovecots(account.maildir);
	const int rc = each_folder(&r, fn, &e);

	if (fn == word_share)
		tell(&r);
	store_close(&r.s);
	return rc < 0 ? EXIT_TEMP : r.problems > 0 ? 1 : 0;
}
