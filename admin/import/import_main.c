/* postern-import: options, who may, and the two processes. The writer becomes the mail user before it sees a byte of mail; the source stays the caller to
 * open files, or becomes user_remote to speak to another server. */
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "admin/import/import.h"
#include "log/log.h"
#include "os/confine.h"
#include "os/os.h"

enum { PASSWORD_MAX = 1024 };

static const struct {
	const char *word, *args, *what;
	import_word_fn *fn;
	bool files, one_user;
} words[] = {
	{ "mbox", "[--folder F] [--quote rd|o|none] FILE…", "mbox files", import_word_mbox, true, true },
	{ "tree", "[--spool DIR] HOME…", "old homes: mail/ Mail/ mbox Maildir/, and the user's file in the spool", import_word_tree, true, false },
	{ "maildir", "[--folder F] DIR", "a Maildir++ tree", import_word_maildir, true, true },
	{ "imap", "--host H [--port N] [--login NAME] [--folder F]", "an account of another IMAP server", import_word_server, false, true },
	{ "backup", "[--folder F] DIR [SNAPSHOT]", "a snapshot that postern-backup made", import_word_server, true, true },
	{ "pop3", "--host H [--port N] [--login NAME] [--folder F] [--delete]", "an account of a POP3 server", import_word_server, false, true },
};

enum { O_USER = 256, O_FOLDER, O_QUOTE, O_SPOOL, O_HOST, O_PORT, O_LOGIN, O_PASSWORD, O_TLS, O_CA, O_NO_VERIFY, O_DELETE, O_KEEP, O_JSON, O_NO_SANDBOX, O_LAYOUT };

static const struct option longs[] = {
	{ "user", required_argument, NULL, O_USER }, { "folder", required_argument, NULL, O_FOLDER }, { "quote", required_argument, NULL, O_QUOTE },
	{ "spool", required_argument, NULL, O_SPOOL }, { "host", required_argument, NULL, O_HOST }, { "port", required_argument, NULL, O_PORT },
	{ "login", required_argument, NULL, O_LOGIN }, { "password-file", required_argument, NULL, O_PASSWORD }, { "tls", required_argument, NULL, O_TLS },
	{ "ca-file", required_argument, NULL, O_CA }, { "no-verify", no_argument, NULL, O_NO_VERIFY }, { "delete", no_argument, NULL, O_DELETE },
	{ "layout", required_argument, NULL, O_LAYOUT }, { "keep", no_argument, NULL, O_KEEP }, { "json", no_argument, NULL, O_JSON }, { "dry-run", no_argument, NULL, 'n' },
	{ "no-sandbox", no_argument, NULL, O_NO_SANDBOX }, { "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'V' }, { NULL, 0, NULL, 0 },
};

static int usage(FILE *to, int status)
{
	(void)fprintf(to, "usage: postern-import [-nq] [-c FILE] [--json] WORD --user USER …\n");
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		(void)fprintf(to, "  %-8s%s\n          %s\n", words[i].word, words[i].args, words[i].what);
	(void)fputs("  -n, --dry-run         only say what would be done\n"
		    "  -q                    no report\n"
		    "  --tls HOW             implicit (default), starttls or none\n"
		    "  --ca-file FILE        certificates to trust instead of the system's\n"
		    "  --no-verify           trust any certificate\n"
		    "  --password-file FILE  the password there; else it is asked for\n"
		    "  --layout WHICH        of a maildir: maildir++ (default), or fs, where folders are directories in directories\n"
		    "  --keep                leave mail there (default; pop3)\n"
		    "  --no-sandbox          no confinement (development only)\n",
		    to);
	return status;
}

/* -1: wrong use; 1: help or version was shown. */
static int options_get(int argc, char **argv, struct import_options *o)
{
	*o = (struct import_options){ .conf_file = conf_default_file() };
	for (int c; (c = getopt_long(argc, argv, "c:nqhV", longs, NULL)) != -1;) {
		switch (c) {
		case 'c': o->conf_file = optarg; break;
		case 'n': o->dry_run = true; break;
		case 'q': o->quiet = true; break;
		case O_USER: o->user = optarg; break;
		case O_FOLDER: o->folder = optarg; break;
		case O_QUOTE: o->quote = optarg; break;
		case O_SPOOL: o->spool = optarg; break;
		case O_LAYOUT: o->layout = optarg; break;
		case O_HOST: o->host = optarg; break;
		case O_PORT: o->port = optarg; break;
		case O_LOGIN: o->login = optarg; break;
		case O_PASSWORD: o->password_file = optarg; break;
		case O_TLS: o->tls = optarg; break;
		case O_CA: o->ca_file = optarg; break;
		case O_NO_VERIFY: o->no_verify = true; break;
		case O_DELETE: o->delete = true; break;
		case O_KEEP: o->keep = true; break;
		case O_JSON: o->json = true; break;
		case O_NO_SANDBOX: o->unconfined = true; break;
		case 'h': (void)usage(stdout, 0); return 1;
		case 'V': (void)printf("postern-import (Postern) %s\n", POSTERN_VERSION); return 1;
		default: return -1;
		}
	}
	if (optind >= argc)
		return -1;
	o->word = argv[optind];
	o->args = argv + optind + 1;
	o->n_args = argc - optind - 1;
	return 0;
}

static bool one_of(const char *value, const char *const *allowed, size_t n)
{
	for (size_t i = 0; value && i < n; i++)
		if (strcmp(value, allowed[i]) == 0)
			return true;
	return value == NULL;
}

/* What is wrong with the call; NULL: nothing. */
static const char *mistake(const struct import_options *o, size_t w)
{
	static const char *const quotes[] = { "rd", "o", "none" }, *const tls[] = { "implicit", "starttls", "none" }, *const layouts[] = { "maildir++", "fs" };
	const char *const word = words[w].word;

	if (words[w].one_user && o->user == NULL)
		return "for which user? (--user USER)";
	if (words[w].files && o->n_args == 0)
		return "from which file or directory?";
	if (!words[w].files && o->host == NULL)
		return "from which server? (--host HOST)";
	if (words[w].files ? o->host != NULL : o->n_args != 0)
		return words[w].files ? "--host is for imap and pop3" : "no files are taken";
	if ((strcmp(word, "maildir") == 0 && o->n_args != 1) || (strcmp(word, "tree") == 0 && o->user && o->n_args != 1))
		return "one directory at a time";
	if ((strcmp(word, "backup") == 0 && o->n_args > 2) || o->n_args > IMPORT_ROOTS_MAX)
		return "more names than it takes";
	if (o->layout && strcmp(word, "maildir") != 0)
		return "--layout is for maildir";
	if ((o->delete || o->keep) && strcmp(word, "pop3") != 0)
		return "--keep and --delete are for pop3";
	if (o->delete && o->keep)
		return "--keep or --delete?";
	if (!one_of(o->quote, quotes, 3))
		return "--quote is rd, o or none";
	if (!one_of(o->tls, tls, 3))
		return "--tls is implicit, starttls or none";
	return one_of(o->layout, layouts, 2) ? NULL : "--layout is maildir++ or fs";
}

/* --- who --- */

/* For ever: checked by trying to come back. */
static int become(uid_t uid, gid_t gid, const char *name, struct err *e)
{
	if (geteuid() != 0)
		return geteuid() == uid ? 0 : err_set(e, ERR_DENIED, 0, "only root may import for others");
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return err_set(e, ERR_TEMP, errno, "cannot become %s", name);
	if (setuid(0) == 0 || seteuid(0) == 0 || geteuid() != uid)
		return err_set(e, ERR_BUG, 0, "root could be had again");
	return 0;
}

/* The mail tree is made by who may make it, as when the user logs in for the first time. */
static int tree_make(const struct account *a, struct err *e)
{
	if (geteuid() != 0 || !(a->flags & ACCOUNT_F_VIRTUAL) || access(a->home, F_OK) == 0)
		return 0;
	return dir_make(a->home, 0700, a->uid, a->gid, e);
}

/* --- the writer --- */

static int writer(const struct import_options *o, const struct conf *conf, const struct account *acct, int chan, import_word_fn *fn)
{
	const struct confine_path path = { .path = acct->maildir, .write = true };
	struct confine c = { .role = CONFINE_IMPORT, .paths = &path, .n_paths = 1, .unconfined = o->unconfined };
	struct import im = { .o = o, .conf = conf, .acct = acct, .chan = chan, .tty = !o->json && !o->quiet && isatty(STDERR_FILENO) };
	struct err e = { 0 };
	int status;

	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (become(acct->uid, acct->gid, acct->name, &e) < 0 || chdir("/") < 0 || import_start(&im, &e) < 0) {
		(void)fprintf(stderr, "postern-import: %s: %s\n", acct->name, e.text);
		return EXIT_TEMP;
	}
	c.n_paths = im.s != NULL;	/* a dry run of a user without mail needs no file at all */
	if (confine_enter(&c, &e) < 0) {
		(void)fprintf(stderr, "postern-import: %s\n", e.text);
		return EXIT_TEMP;
	}
	im.restore = strcmp(o->word, "backup") == 0;
	const int r = fn(&im, &e);
	status = import_report(&im);
	if (r < 0 && e.code != ERR_NONE)
		(void)fprintf(stderr, "postern-import: %s: %s\n", acct->name, e.text);
	import_end(&im);
	(void)fflush(stdout);
	return r < 0 ? EXIT_TEMP : status;
}

static pid_t writer_start(const struct import_options *o, const struct conf *conf, const struct account *acct, import_word_fn *fn, int *chan_out,
			  struct err *e)
{
	int sp[2];

	if (tree_make(acct, e) < 0 || sock_pair(SOCK_SEQPACKET, sp, e) < 0)
		return -1;
	(void)fflush(NULL);
	const pid_t pid = fork();
	if (pid == 0) {
		close(sp[0]);
		_exit(writer(o, conf, acct, sp[1], fn));
	}
	close(sp[1]);
	*chan_out = sp[0];
	if (pid < 0) {
		close(sp[0]);
		return err_set(e, ERR_TEMP, errno, "fork");
	}
	return pid;
}

static int writer_status(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_TEMP;
}

/* --- one user --- */

static int from_files(const struct import_options *o, const struct conf *conf, const struct account *acct, import_word_fn *fn, char **paths, int n,
		      struct err *e)
{
	int roots[IMPORT_ROOTS_MAX + 1], n_roots = 0, chan;
	struct stat st;

	for (; n_roots < n; n_roots++)
		if ((roots[n_roots] = import_root(paths[n_roots], e)) < 0)
			return -1;
	if (strcmp(o->word, "maildir") == 0 && (fstat(roots[0], &st) < 0 || !S_ISDIR(st.st_mode)))
		return err_set(e, ERR_INPUT, 0, "%s is no directory: a maildir is one", paths[0]);
	if (o->spool && (roots[n_roots++] = import_root(o->spool, e)) < 0)
		return -1;
	const pid_t pid = writer_start(o, conf, acct, fn, &chan, e);
	if (pid < 0)
		return -1;
	import_opener(chan, roots, (size_t)n_roots);
	close(chan);
	while (n_roots > 0)
		close(roots[--n_roots]);
	return writer_status(pid);
}

static int from_backup(const struct import_options *o, const struct conf *conf, const struct account *acct, import_word_fn *fn, struct err *e)
{
	int chan;
	const pid_t pid = writer_start(o, conf, acct, fn, &chan, e);

	if (pid < 0)
		return -1;
	const int status = import_backup(o->args[0], acct->name, o->n_args > 1 ? o->args[1] : NULL, chan);
	close(chan);
	const int theirs = writer_status(pid);
	return theirs ? theirs : status;
}

static int password_get(const struct import_options *o, struct buf *out, struct err *e)
{
	struct termios was, quiet;
	char line[PASSWORD_MAX];
	const bool tty = isatty(STDIN_FILENO);

	if (o->password_file) {
		if (file_read(o->password_file, PASSWORD_MAX, out, e) < 0)
			return -1;
	} else {
		if (tty && tcgetattr(STDIN_FILENO, &was) == 0) {
			quiet = was;
			quiet.c_lflag &= ~(tcflag_t)ECHO;
			(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
			(void)fprintf(stderr, "Password of %s at %s: ", o->login ? o->login : o->user, o->host);
		}
		const bool got = fgets(line, sizeof line, stdin) != NULL;
		if (tty) {
			(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &was);
			(void)fputc('\n', stderr);
		}
		if (!got)
			return err_set(e, ERR_INPUT, 0, "no password on standard input");
		buf_c(out, line);
		explicit_bzero(line, sizeof line);
	}
	while (out->n > 0 && (out->p[out->n - 1] == '\n' || out->p[out->n - 1] == '\r'))
		buf_cut(out, out->n - 1);
	return out->n > 0 ? 0 : err_set(e, ERR_INPUT, 0, "an empty password");
}

static int from_server(const struct import_options *o, const struct conf *conf, const struct account *acct, import_word_fn *fn, struct err *e)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	struct buf password;
	int chan;

	if (geteuid() == 0 && confine_user(conf->user_remote, &uid, &gid, e) < 0)
		return -1;
	/* The writer first: it never sees the password. */
	const pid_t pid = writer_start(o, conf, acct, fn, &chan, e);
	if (pid < 0)
		return -1;
	buf_init(&password, PASSWORD_MAX + 1);
	if (password_get(o, &password, e) < 0 || (geteuid() == 0 && become(uid, gid, conf->user_remote, e) < 0)) {
		close(chan);
		(void)writer_status(pid);
		return -1;
	}
	const int status = import_fetcher(o, conf, &password, chan);
	close(chan);
	buf_wipe(&password);
	buf_fini(&password);
	const int theirs = writer_status(pid);
	return theirs ? theirs : status;
}

static int one_user(const struct import_options *o, const struct conf *conf, size_t w, const char *user, char **paths, int n)
{
	struct account acct;
	struct err e = { 0 };
	int r;

	if (account_load(conf->state_directory, str_c(user), (uid_t)conf->auth_min_uid, &acct, &e) < 0) {
		(void)fprintf(stderr, "postern-import: %s: %s\n", user, e.code == ERR_NOENT ? "no such user" : e.text);
		return e.code == ERR_NOENT ? EXIT_NOUSER : EXIT_TEMP;
	}
	r = strcmp(o->word, "backup") == 0 ? from_backup(o, conf, &acct, words[w].fn, &e) :
	    words[w].files		   ? from_files(o, conf, &acct, words[w].fn, paths, n, &e) :
					     from_server(o, conf, &acct, words[w].fn, &e);
	if (r < 0)
		(void)fprintf(stderr, "postern-import: %s: %s\n", user, e.text);
	return r < 0 ? EXIT_TEMP : r;
}

/* Homes are named after their users. */
static int each_home(const struct import_options *o, const struct conf *conf, size_t w)
{
	int worst = 0;

	for (int i = 0; i < o->n_args; i++) {
		char *home = o->args[i];
		size_t n = strlen(home);
		while (n > 1 && home[n - 1] == '/')
			home[--n] = '\0';
		const char *const slash = strrchr(home, '/');
		const int status = one_user(o, conf, w, o->user ? o->user : slash ? slash + 1 : home, &o->args[i], 1);
		worst = status > worst ? status : worst;	/* the others all the same */
	}
	return worst;
}

int main(int argc, char **argv)
{
	struct import_options o;
	struct conf *conf;
	size_t w = 0;

	proc_init(argc, argv);
	const int r = options_get(argc, argv, &o);
	if (r != 0)
		return r > 0 ? 0 : usage(stderr, EXIT_USAGE);
	while (w < ARRAY_LEN(words) && strcmp(o.word, words[w].word) != 0)
		w++;
	const char *const wrong = w < ARRAY_LEN(words) ? mistake(&o, w) : "no such word";
	if (wrong) {
		(void)fprintf(stderr, "postern-import: %s: %s\n", o.word, wrong);
		return usage(stderr, EXIT_USAGE);
	}
	if (conf_load_told("postern-import", o.conf_file, false, &conf) < 0)
		return EXIT_CONF;
	return words[w].one_user ? one_user(&o, conf, w, o.user, o.args, o.n_args) : each_home(&o, conf, w);
}
