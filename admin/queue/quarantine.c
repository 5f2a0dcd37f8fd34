/* postern-quarantine: mail that the filter keeps from its recipients. It asks queued, which holds it; a release delivers it as any other mail, past the filter. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "admin/queue/queuetool.h"
#include "base/enc.h"
#include "base/json.h"
#include "base/map.h"
#include "base/num.h"
#include "base/clock.h"
#include "mail/head.h"
#include "os/os.h"

enum { IDS_PER_REQUEST = 1000, DIGEST_ROWS_MAX = 200 };

struct tool {
	struct conf *conf;
	bool json, dry_run;
	const char *recipient;		/* only what is for it: part of an address, case folded; NULL: all */
	uint64_t since;			/* digest: seconds back */
};

struct item {
	struct item *next;
	struct str id, sender, reason;
	uint64_t arrived, size;
	struct str *to;
	size_t n_to, cap_to;
};

struct list {
	struct arena *a;
	struct item *first, **end, *last;
};

/* --- reading the list --- */

static void add_recipient(struct list *l, struct str to)
{
	struct item *i = l->last;
	if (i == NULL)
		return;
	if (i->n_to == i->cap_to) {
		const size_t cap = i->cap_to == 0 ? 4 : i->cap_to * 2;
		struct str *v = ARENA_ARRAY(l->a, struct str, cap);
		if (i->n_to > 0)
			memcpy(v, i->to, i->n_to * sizeof(*v));
		i->to = v;
		i->cap_to = cap;
	}
	i->to[i->n_to++] = arena_str(l->a, to);
}

static void on_line(void *ctx, const struct ipc_control_LINE *line)
{
	struct list *l = ctx;
	if (control_value(line, "queue_id").n == 0) {
		add_recipient(l, control_value(line, "recipient"));
		return;
	}
	struct item *i = ARENA_NEW(l->a, struct item);
	i->id = arena_str(l->a, control_value(line, "queue_id"));
	i->sender = arena_str(l->a, control_value(line, "sender"));
	i->reason = arena_str(l->a, control_value(line, "quarantine"));
	i->arrived = control_number(line, "arrival_time");
	i->size = control_number(line, "message_size");
	*l->end = i;
	l->end = &i->next;
	l->last = i;
}

static int list_read(const struct tool *t, struct list *l)
{
	*l = (struct list){ .a = arena_new(0) };
	l->end = &l->first;
	return queue_ask(t->conf, "quarantine-list", NULL, 0, on_line, l, NULL);
}

static bool wanted(const struct tool *t, const struct item *i)
{
	if (t->recipient == NULL)
		return true;
	for (size_t k = 0; k < i->n_to; k++)
		if (str_case_find(i->to[k], str_c(t->recipient)) >= 0)
			return true;
	return false;
}

/* --- list --- */

static const char *stamp(uint64_t when, char out[40])
{
	const time_t at = (time_t)when;
	struct tm tm;
	if (localtime_r(&at, &tm) == NULL || strftime(out, 40, "%Y-%m-%d %H:%M", &tm) == 0)
		return "?";
	return out;
}

static void print_neutral(struct str s, size_t max)
{
	struct buf b;
	buf_init(&b, max + 8);
	text_neutral(&b, s, max, false);
	fwrite(b.p, 1, b.n, stdout);
	buf_fini(&b);
}

static void print_item(const struct item *i)
{
	char when[40];
	printf("%-12.*s %s %8llu  ", STR_ARG(i->id), stamp(i->arrived, when), (unsigned long long)i->size);
	print_neutral(i->reason, 200);
	printf("\n             from ");
	print_neutral(i->sender.n > 0 ? i->sender : STR("<>"), 200);
	for (size_t k = 0; k < i->n_to; k++) {
		printf("\n             to   ");
		print_neutral(i->to[k], 200);
	}
	putchar('\n');
}

static void print_json(const struct item *i)
{
	putchar('{');
	json_field(stdout, "id", i->id, true);
	json_number(stdout, "arrival_time", (long long)i->arrived, false);
	json_number(stdout, "size", (long long)i->size, false);
	json_field(stdout, "reason", i->reason, false);
	json_field(stdout, "sender", i->sender, false);
	json_name(stdout, "recipients", false);
	putchar('[');
	for (size_t k = 0; k < i->n_to; k++) {
		if (k > 0)
			fputs(", ", stdout);
		json_string(stdout, i->to[k]);
	}
	puts("]}");
}

static int do_list(const struct tool *t, char **args, int n)
{
	struct list l;
	size_t shown = 0;
	const int r = list_read(t, &l);
	for (const struct item *i = l.first; r == 0 && i != NULL; i = i->next)
		if (wanted(t, i)) {
			(t->json ? print_json : print_item)(i);
			shown++;
		}
	if (r == 0 && shown == 0 && !t->json)
		puts("The quarantine is empty");
	arena_free(&l.a);
	return r;
}

/* --- words about messages --- */

static int ask_each(const struct tool *t, const char *word, const struct str *ids, size_t n)
{
	int status = 0;
	for (size_t i = 0; i < n && status != EX_UNAVAILABLE; i += IDS_PER_REQUEST) {
		const int r = queue_ask(t->conf, word, ids + i, n - i < IDS_PER_REQUEST ? n - i : IDS_PER_REQUEST, NULL, NULL, stdout);
		status = r ? r : status;
	}
	return status;
}

/* ids, ALL, or what --recipient chooses. */
static int act(const struct tool *t, const char *word, char **args, int n)
{
	struct list l = { .a = arena_new(0) };
	size_t n_ids = 0;
	int r = 0;
	if (n == 0 && t->recipient != NULL) {
		arena_free(&l.a);
		r = list_read(t, &l);
		for (const struct item *i = l.first; i != NULL; i = i->next)
			n_ids += wanted(t, i);
	}
	struct str *ids = ARENA_ARRAY(l.a, struct str, n_ids + (size_t)n + 1);
	n_ids = 0;
	for (const struct item *i = l.first; i != NULL; i = i->next)
		if (wanted(t, i))
			ids[n_ids++] = i->id;
	for (int i = 0; i < n; i++)
		ids[n_ids++] = str_c(args[i]);
	if (r == 0 && n_ids == 0) {
		fprintf(stderr, "postern-quarantine: which message? (an id, ALL, or --recipient)\n");
		r = EX_USAGE;
	} else if (r == 0) {
		r = ask_each(t, word, ids, n_ids);
	}
	arena_free(&l.a);
	return r;
}

static int do_release(const struct tool *t, char **args, int n) { return act(t, "quarantine-release", args, n); }
static int do_delete(const struct tool *t, char **args, int n) { return act(t, "quarantine-delete", args, n); }

static int do_show(const struct tool *t, char **args, int n)
{
	struct list l;
	if (n != 1)
		return EX_USAGE;
	int r = list_read(t, &l);
	const struct item *i = l.first;
	while (i != NULL && !str_eq(i->id, str_c(args[0])))
		i = i->next;
	if (r == 0 && i == NULL) {
		fprintf(stderr, "postern-quarantine: %s: no such message\n", args[0]);
		r = EX_DATAERR;
	} else if (r == 0) {
		r = queue_show(t->conf, args[0], "ehb", false);
	}
	arena_free(&l.a);
	return r;
}

/* "30d" to seconds. */
static bool age_parse(const char *text, uint64_t *out)
{
	static const struct { char unit; uint64_t s; } units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { 'w', 604800 } };
	struct str s = str_c(text);
	uint64_t factor = 1;
	for (size_t i = 0; s.n > 0 && i < ARRAY_LEN(units); i++)
		if (s.p[s.n - 1] == units[i].unit) {
			factor = units[i].s;
			s.n--;
			break;
		}
	if (num_parse(s, 0, UINT32_MAX / factor, out) < 0)
		return false;
	*out *= factor;
	return true;
}

static int do_expire(const struct tool *t, char **args, int n)
{
	uint64_t age = t->conf->quarantine_lifetime;
	char text[24];
	if (n > 1 || (n == 1 && !age_parse(args[0], &age))) {
		fprintf(stderr, "postern-quarantine: expire [AGE]: 12h, 30d, 4w\n");
		return EX_USAGE;
	}
	if (n == 0 && age == 0) {
		puts("quarantine_lifetime = 0: nothing expires");
		return 0;
	}
	snprintf(text, sizeof(text), "%llu", (unsigned long long)age);
	const struct str arg = str_c(text);
	return queue_ask(t->conf, "quarantine-expire", &arg, 1, NULL, NULL, stdout);
}

/* --- digest: each recipient is told what is kept from him --- */

static void put_letter(const struct tool *t, const struct list *l, struct str to, FILE *out)
{
	const int64_t from = clock_wall() - (int64_t)t->since;
	struct buf b;
	size_t rows = 0;
	char when[40];
	buf_init(&b, 1 << 20);
	buf_printf(&b, "From: Mail filter <MAILER-DAEMON@%s>\nTo: %.*s\nSubject: Mail in quarantine\nDate: ", t->conf->myhostname, STR_ARG(to));
	mail_date_format(clock_wall(), 0, &b);
	buf_c(&b, "\nAuto-Submitted: auto-generated\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
		  "The mail filter keeps these messages from your mailbox. If you want one of them,\ntell your postmaster its number; the others go by themselves.\n");
	for (const struct item *i = l->first; i != NULL && rows < DIGEST_ROWS_MAX; i = i->next) {
		bool mine = false;
		for (size_t k = 0; k < i->n_to; k++)
			mine |= str_case_eq(i->to[k], to);
		if (!mine || (int64_t)i->arrived < from)
			continue;
		rows++;
		buf_printf(&b, "\n%.*s  %s  ", STR_ARG(i->id), stamp(i->arrived, when));
		text_neutral(&b, i->reason, 120, false);
		buf_c(&b, "\n  from ");
		text_neutral(&b, i->sender.n > 0 ? i->sender : STR("<>"), 200, false);
		buf_ch(&b, '\n');
	}
	if (rows == DIGEST_ROWS_MAX)
		buf_printf(&b, "\nThere are more than %d; these are the oldest.\n", DIGEST_ROWS_MAX);
	fwrite(b.p, 1, b.n, out);
	buf_fini(&b);
}

/* Through the suite's own sendmail: 0, or its exit status. */
static int send_letter(const struct tool *t, const struct list *l, struct str to)
{
	char program[1100], address[330];
	int pipe_fds[2], status = 0;
	snprintf(program, sizeof(program), "%s/sendmail", t->conf->libexec_directory);
	snprintf(address, sizeof(address), "%.*s", (int)(to.n < 320 ? to.n : 320), to.p);
	if (pipe(pipe_fds) < 0)
		return EX_OSERR;
	fflush(stdout);
	const pid_t pid = fork();
	if (pid == 0) {
		dup2(pipe_fds[0], 0);
		close(pipe_fds[0]);
		close(pipe_fds[1]);
		execl(program, "sendmail", "-C", t->conf->conf_file, "-i", "-f", "<>", "--", address, (char *)NULL);
		fprintf(stderr, "postern-quarantine: %s: %s\n", program, strerror(errno));
		_exit(EX_UNAVAILABLE);
	}
	close(pipe_fds[0]);
	FILE *out = pid < 0 ? NULL : fdopen(pipe_fds[1], "w");
	if (out == NULL) {
		close(pipe_fds[1]);
		return EX_OSERR;
	}
	put_letter(t, l, to, out);
	const bool written = fclose(out) == 0;
	if (waitpid(pid, &status, 0) < 0 || !written || !WIFEXITED(status))
		return EX_OSERR;
	return WEXITSTATUS(status);
}

static int tell(const struct tool *t, const struct list *l, struct str to)
{
	if (t->dry_run) {
		put_letter(t, l, to, stdout);
		putchar('\n');
		return 0;
	}
	const int r = send_letter(t, l, to);
	if (r != 0)
		fprintf(stderr, "postern-quarantine: %.*s could not be told\n", STR_ARG(to));
	return r;
}

static int do_digest(const struct tool *t, char **args, int n)
{
	struct list l;
	struct map *told = map_new();
	size_t letters = 0;
	int r = list_read(t, &l), failed = 0;
	const int64_t from = clock_wall() - (int64_t)t->since;
	for (const struct item *i = l.first; r == 0 && i != NULL; i = i->next)
		for (size_t k = 0; (int64_t)i->arrived >= from && k < i->n_to; k++) {
			if (map_set(told, i->to[k], &l) != NULL || (t->recipient != NULL && str_case_find(i->to[k], str_c(t->recipient)) < 0))
				continue;
			const int x = tell(t, &l, i->to[k]);
			failed = x ? x : failed;
			letters++;
		}
	if (r == 0)
		fprintf(t->dry_run ? stderr : stdout, "%zu recipient%s told\n", letters, letters == 1 ? "" : "s");
	map_free(&told);
	arena_free(&l.a);
	return r ? r : failed;
}

static const struct {
	const char *name, *args;
	int (*run)(const struct tool *t, char **args, int n);
} words[] = {
	{ "list", "[--json] [--recipient TEXT]", do_list },
	{ "show", "ID", do_show },
	{ "release", "ID... | ALL | --recipient TEXT", do_release },
	{ "delete", "ID... | ALL | --recipient TEXT", do_delete },
	{ "expire", "[AGE]", do_expire },
	{ "digest", "[--since AGE] [--recipient TEXT] [--dry-run]", do_digest },
};

static int usage(FILE *to, int status)
{
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		fprintf(to, "%s postern-quarantine [-c FILE] %s %s\n", i == 0 ? "usage:" : "      ", words[i].name, words[i].args);
	return status;
}

static int run(const struct tool *t, char **args, int n)
{
	const char *word = n > 0 ? args[0] : "list";
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcmp(word, words[i].name) == 0)
			return words[i].run(t, n > 0 ? args + 1 : args, n > 0 ? n - 1 : 0);
	return usage(stderr, EX_USAGE);
}

int main(int argc, char **argv)
{
	enum { RECIPIENT = 256, SINCE, DRY_RUN };
	static const struct option longs[] = {
		{ "json", no_argument, NULL, 'j' }, { "recipient", required_argument, NULL, RECIPIENT }, { "since", required_argument, NULL, SINCE },
		{ "dry-run", no_argument, NULL, DRY_RUN }, { "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'V' }, { 0 },
	};
	struct tool t = { .since = 86400 };
	const char *file = conf_default_file();
	for (int opt; (opt = getopt_long(argc, argv, "c:h", longs, NULL)) != -1;)
		switch (opt) {
		case 'c': file = optarg; break;
		case 'j': t.json = true; break;
		case RECIPIENT: t.recipient = optarg; break;
		case DRY_RUN: t.dry_run = true; break;
		case 'h': return usage(stdout, 0);
		case 'V': printf("Postern %s\n", POSTERN_VERSION); return 0;
		case SINCE:
			if (age_parse(optarg, &t.since))
				break;
			/* fall through */
		default: return usage(stderr, EX_USAGE);
		}
	if (conf_load_told("postern-quarantine", file, false, &t.conf) < 0)
		return EX_CONFIG;
	const int r = run(&t, argv + optind, argc - optind);
	conf_free(&t.conf);
	return r;
}
