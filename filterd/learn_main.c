/* postern-learn: what is spam and what is not, learned from directories of mail (learn.h). */
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "base/num.h"
#include "conf/conf.h"
#include "ipc/learn.h"
#include "learn.h"
#include "learndata.h"
#include "os/confine.h"
#include "os/os.h"
#include "spam/spam.h"
#include "spam/taught.h"

enum { EXIT_USAGE = 64, EXIT_TEMP = 75, LIMIT_DEFAULT = 100000, PROGRESS_EVERY = 100 };

struct learning {
	const struct learn_options *o;
	struct spam *spam;
	struct learner *l;
	struct arena *a;
	size_t seen, passed, unread;
	pid_t feeder;
	bool troubled;		/* something could not be read */
};

static int usage(FILE *to, int status)
{
	fputs("usage: postern-learn [-c FILE] [-q] [--json] [--limit N] --spam DIR... | --ham DIR... | --forget DIR... ...\n"
	      "       postern-learn [-c FILE] [-q] [--json] [--limit N] --queued | --folders ...\n"
	      "       postern-learn [-c FILE] [--json] --status\n"
	      "Learns the words of spam and of other mail. DIR is a maildir, or a directory of messages.\n"
	      "  --queued   what users have moved into Junk and out of it\n"
	      "  --folders  the folders of learn_spam_folders and learn_ham_folders\n"
	      "  --limit N  at most so many messages of one DIR (100000)\n"
	      "  --tokens FILE  the learned words of another file than state_directory/filter/tokens.cdb\n"
	      "  -q         no progress, no summary\n"
	      "  --no-sandbox  no confinement (development only)\n", to);
	return status;
}

/* --- options --- */

void learn_dir_add(struct learn_options *o, const struct learn_dir *d)
{
	o->dirs = xrealloc(o->dirs, (o->n_dirs + 1) * sizeof(*o->dirs));
	o->dirs[o->n_dirs++] = *d;
}

/* 0 go on, else exit with *status. A directory belongs to the last --spam, --ham or --forget before it. */
static int options_read(int argc, char **argv, struct learn_options *o, int *status)
{
	static const struct option longs[] = { { "spam", no_argument, NULL, 'S' }, { "ham", no_argument, NULL, 'H' }, { "forget", no_argument, NULL, 'F' },
		{ "queued", no_argument, NULL, 'Q' }, { "folders", no_argument, NULL, 'D' },
		{ "json", no_argument, NULL, 'j' }, { "limit", required_argument, NULL, 'l' }, { "status", no_argument, NULL, 's' },
		{ "tokens", required_argument, NULL, 't' }, { "no-sandbox", no_argument, NULL, 'n' }, { "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' }, { 0 } };
	int as = -1;
	uint64_t limit = LIMIT_DEFAULT;
	for (int c; (c = getopt_long(argc, argv, "-c:qh", longs, NULL)) != -1;) {
		switch (c) {
		case 1:
			if (as < 0 || o->n_dirs >= LEARN_DIRS_MAX)
				return *status = usage(stderr, EXIT_USAGE);
			learn_dir_add(o, &(struct learn_dir){ .path = optarg, .as = (enum bayes_class)as });
			break;
		case 'S': as = BAYES_SPAM; break;
		case 'H': as = BAYES_HAM; break;
		case 'F': as = BAYES_NONE; break;
		case 'Q': o->queued = true; break;
		case 'D': o->folders = true; break;
		case 'c': o->conf = optarg; break;
		case 't': o->tokens = optarg; break;
		case 'j': o->json = true; break;
		case 'q': o->quiet = true; break;
		case 's': o->status = true; break;
		case 'n': o->unconfined = true; break;
		case 'l':
			if (num_parse(str_c(optarg), 1, 1000000000, &limit) < 0)
				return *status = usage(stderr, EXIT_USAGE);
			break;
		case 'V':
			puts("postern-learn (Postern) " POSTERN_VERSION);
			return 1;
		default:
			*status = usage(c == 'h' ? stdout : stderr, c == 'h' ? 0 : EXIT_USAGE);
			return 1;
		}
	}
	o->limit = (size_t)limit;
	for (; optind < argc && as >= 0; optind++)
		learn_dir_add(o, &(struct learn_dir){ .path = argv[optind], .as = (enum bayes_class)as });
	if (optind < argc || o->status == (o->n_dirs > 0 || o->queued || o->folders))
		return *status = usage(stderr, EXIT_USAGE);
	return 0;
}

/* --- the learner --- */

/* The file may change meanwhile: what is read is what is learned. */
static int mail_read(int fd, struct buf *out)
{
	char part[65536];
	ssize_t n;
	for (off_t at = 0; (n = pread(fd, part, sizeof(part), at)) > 0 && !buf_failed(out); at += n)
		buf_mem(out, part, (size_t)n);
	return n < 0 || buf_failed(out) ? -1 : 0;
}

static void learn_mail(struct learning *t, const struct ipc_learn_MAIL *m, int fd)
{
	struct buf text;
	buf_init(&text, LEARN_MESSAGE_MAX + 1);
	if (m->class > BAYES_HAM || mail_read(fd, &text) < 0)
		t->unread++;
	else
		learner_message(t->l, t->spam, buf_view(&text), (enum bayes_class)m->class);
	buf_fini(&text);
	if (++t->seen % PROGRESS_EVERY == 0 && !t->o->quiet && !t->o->json && isatty(STDERR_FILENO))
		fprintf(stderr, "\r%zu messages", t->seen);
}

static void learn_dir(struct learning *t, const struct ipc_learn_DIR *d)
{
	t->passed += (size_t)d->passed;
	if (d->trouble.n == 0)
		return;
	fprintf(stderr, "postern-learn: %.*s: %.*s\n", STR_ARG(d->name), STR_ARG(d->trouble));
	t->troubled = true;
}

/* Until the feeder has no more, or has ended before that. */
static void learn_all(struct learning *t, int chan)
{
	for (;;) {
		struct err e = { 0 };
		uint16_t type;
		uint32_t id;
		void *msg;
		CLEANUP_FD int fd = -1;
		arena_reset(t->a);
		if (ipc_recv_fd(chan, &ipc_learn, -1, t->a, &type, &id, &msg, &fd, &e) < 0 || type == IPC_learn_LEARNED) {
			t->troubled = true;
			return;
		}
		if (type == IPC_learn_FED)
			return;
		if (t->l == NULL)	/* committed: too late, from a child that was given up (learn_child_wait) */
			continue;
		if (type == IPC_learn_MAIL)
			learn_mail(t, msg, fd);
		else
			learn_dir(t, msg);
	}
}

/* What filterd noted: mail that was learned of itself, and what was told by spamc. What a crash cut short is the end of it. */
static int learn_noted(struct learning *t, const struct conf *conf, struct err *e)
{
	struct buf b;
	struct str record;
	buf_init(&b, TAUGHT_FILE_MAX);
	int k = learn_data_take(conf->state_directory, &b, e);
	struct str rest = buf_view(&b);
	while (k == 0 && taught_file_next(&rest, &record) == 0) {
		struct err bad = { 0 };
		struct taught taught;
		arena_reset(t->a);
		if (taught_parse(t->a, record, &taught, &bad) == 0)
			learner_taught(t->l, &taught);
		else
			t->unread++;
	}
	buf_fini(&b);
	return k;
}

static bool noted_there(const struct learning *t, const struct conf *conf)
{
	return t->o->queued && t->o->tokens == NULL && learn_data_there(conf->state_directory);
}

/* The feeder may go on: what it fed is in the file. It says FED once more when it has done the rest. */
static void tell_learned(struct learning *t, int chan)
{
	const struct ipc_learn_LEARNED m = { 0 };
	struct err e = { 0 };
	if (ipc_send_fd(chan, &ipc_learn, IPC_learn_LEARNED, &m, 1, -1, &e) < 0)
		t->troubled = true;
	else
		learn_all(t, chan);
}

/* Everything, into the file. Then whoever gave it may forget it. */
static int learn_whole(struct learning *t, const struct conf *conf, int chan, bool noted, struct learn_stats *stats, struct err *e)
{
	if (chan >= 0)
		learn_all(t, chan);
	if ((noted && learn_noted(t, conf, e) < 0) || learner_commit(&t->l, stats, e) < 0)
		return -1;
	if (chan >= 0)
		tell_learned(t, chan);
	return noted ? learn_data_taken(conf->state_directory, e) : 0;
}

/* The feeder has ended without a word. True: nobody is to be heard, chan is closed. */
static bool nothing_comes(struct learning *t, int *chan)
{
	int status = 0;
	char c;
	if (*chan < 0)
		return true;
	if (recv(*chan, &c, 1, MSG_PEEK) != 0)
		return false;
	close_fd(chan);
	t->troubled = waitpid(t->feeder, &status, 0) < 0 || status != 0;
	return true;
}

static void report(const struct learning *t, const struct learn_stats *s)
{
	if (t->o->json) {
		putchar('{');
		json_number(stdout, "spam", (long long)s->spam, true);
		json_number(stdout, "ham", (long long)s->ham, false);
		json_number(stdout, "forgotten", (long long)s->forgotten, false);
		json_number(stdout, "known", (long long)s->known, false);
		json_number(stdout, "passed", (long long)(t->passed + t->unread), false);
		json_number(stdout, "tokens", (long long)s->tokens, false);
		json_number(stdout, "expired", (long long)s->expired, false);
		json_number(stdout, "all_spam", (long long)s->all_spam, false);
		json_number(stdout, "all_ham", (long long)s->all_ham, false);
		puts("}");
	} else if (!t->o->quiet) {
		printf("%zu spam and %zu ham learned, %zu forgotten, %zu known already, %zu passed over; %zu words of %zu spam and %zu ham\n", s->spam, s->ham, s->forgotten,
		       s->known, t->passed + t->unread, s->tokens, s->all_spam, s->all_ham);
	}
}

static int become(const struct conf *conf, const struct learn_options *o, char *dir, struct err *e)
{
	const struct confine_path paths[] = { { .path = dir, .write = true } };
	const struct confine c = { .role = CONFINE_IMPORT, .user = geteuid() == 0 ? conf->user_filter : NULL, .uid = geteuid(), .gid = getegid(), .paths = paths,
		.n_paths = 1, .unconfined = o->unconfined };
	return confine_enter(&c, e);
}

/* The directory of the tokens is user_filter's. */
static int place(const struct conf *conf, const struct learn_options *o, char *tokens, char *dir, size_t size, struct err *e)
{
	uid_t uid = 0;
	gid_t gid = 0;
	if (o->tokens != NULL)
		snprintf(tokens, size, "%s", o->tokens);
	else
		snprintf(tokens, size, "%s/filter/tokens.cdb", conf->state_directory);
	snprintf(dir, size, "%s", tokens);
	char *slash = strrchr(dir, '/');
	if (slash == NULL || slash == dir)
		return err_set(e, ERR_CONF, 0, "%s: no whole path of a file in a directory", tokens);
	*slash = '\0';
	if (geteuid() != 0 || o->tokens != NULL)
		return 0;
	return confine_user(conf->user_filter, &uid, &gid, e) < 0 ? -1 : dir_make(dir, 0750, uid, gid, e);
}

static int learn(struct learning *t, const struct conf *conf, int chan, struct err *e)
{
	const bool noted = noted_there(t, conf);
	char tokens[1100], dir[1100], own[1100];
	struct learn_stats stats;
	if (place(conf, t->o, tokens, dir, sizeof(tokens), e) < 0)
		return -1;
	snprintf(own, sizeof(own), "%s/filter/rules", conf->share_directory);
	const struct spam_options so = { .rules_dir = conf->spam_rules_directory, .site_dir = conf->spam_site_directory, .own_dir = own };
	if (spam_load(&so, NULL, NULL, &t->spam, e) < 0 || become(conf, t->o, dir, e) < 0 ||
	    learner_open(tokens, (size_t)conf->spam_tokens_max, &t->l, e) < 0)
		return -1;
	if (chan < 0 && !noted)
		learner_look(&t->l, &stats);
	else if (learn_whole(t, conf, chan, noted, &stats, e) < 0)
		return -1;
	report(t, &stats);
	return t->troubled ? err_set(e, ERR_TEMP, 0, "not everything could be read") : 0;
}

static int feeder_start(const struct learn_options *o, const struct conf *conf, pid_t *pid_out, struct err *e)
{
	int pair[2];
	if (o->status)
		return -1;
	const int room = LEARN_ROOM;
	if (sock_pair(SOCK_SEQPACKET, pair, e) < 0)
		return -1;
	if (setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)) < 0)
		return err_set(e, ERR_TEMP, errno, "setsockopt");
	const pid_t pid = fork();
	if (pid == 0) {
		close(pair[0]);
		learn_feed(o, conf, pair[1]);
	}
	close(pair[1]);
	*pid_out = pid;
	return pid < 0 ? err_set(e, ERR_TEMP, errno, "fork") : pair[0];
}

int main(int argc, char **argv)
{
	struct learn_options o = { .conf = conf_default_file(), .a = arena_new(0) };
	struct err e = { 0 };
	struct conf *conf;
	int status = 0;
	if (options_read(argc, argv, &o, &status) != 0)
		return status;
	if (conf_load_told("postern-learn", o.conf, false, &conf) < 0)
		return EXIT_TEMP;
	struct learning t = { .o = &o, .a = arena_new(0) };
	int chan = o.folders && learn_folders(&o, conf, &e) < 0 ? -1 : feeder_start(&o, conf, &t.feeder, &e);
	/* A timer's run that finds nothing costs nothing. */
	if (e.code == ERR_NONE && nothing_comes(&t, &chan) && o.quiet && !noted_there(&t, conf))
		status = t.troubled ? EXIT_TEMP : 0;
	else if (e.code == ERR_NONE && learn(&t, conf, chan, &e) < 0)
		status = EXIT_TEMP;
	if (e.code != ERR_NONE) {
		fprintf(stderr, "postern-learn: %s\n", e.text);
		status = EXIT_TEMP;
	}
	close_fd(&chan);
	spam_free(&t.spam);
	arena_free(&t.a);
	conf_free(&conf);
	free(o.dirs);
	arena_free(&o.a);
	return status;
}
