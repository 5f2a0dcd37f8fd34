/* postern trace: all events of a message from the mail log, in order. A queue id names one; a message id or an address names every message that it occurs in. Messages
 * that come of it (notifications, forwarded copies) are followed. The log is read again until nothing new is found. */
#include "admin/postern/postern.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/map.h"
#include "admin/postern/logline.h"
#include "log/count.h"

enum { FILES_MAX = 16, PASSES_MAX = 20, IDS_MAX = 100000 };

struct tracer {
	struct map *ids;		/* of the messages that are followed */
	struct str wanted;		/* as asked, without brackets */
	bool by_id, json, logins, grew;
	const char *files[FILES_MAX];
	size_t n_files, printed;
};

static int usage(FILE *to, int status)
{
	fputs("usage: postern trace [--json] [--file FILE ...] QUEUE-ID | ADDRESS | MESSAGE-ID\n"
	      "       postern trace [--json] [--file FILE ...] --logins USER | IP\n"
	      "Print all events of a message, and of those that came of it, from the mail log (maillog_file and the one before it).\n"
	      "--logins: who logged in, or failed to, with that name or from there.\n"
	      "--json: one object a line. Exit status: 0 found, 1 nothing.\n",
	      to);
	return status;
}

static void follow(struct tracer *t, struct str id)
{
	if (id.n == 0 || map_get(t->ids, id) || map_count(t->ids) >= IDS_MAX)
		return;
	map_set(t->ids, id, t);
	t->grew = true;
}

/* Does the line speak of what was asked for? */
static bool names_it(const struct tracer *t, const struct logline *l)
{
	static const char *const fields[] = { "message-id", "resent-message-id", "from", "to", "orig_to" };

	for (size_t i = 0; !t->by_id && i < ARRAY_LEN(fields); i++)
		if (str_case_eq(logline_field(l, fields[i]), t->wanted))
			return true;
	return false;
}

static void learn(struct tracer *t, const struct logline *l)
{
	const struct str other = logline_other(l);

	if (names_it(t, l))
		follow(t, l->id);
	if (other.n > 0 && l->id.n > 0 && map_get(t->ids, l->id))
		follow(t, other);
}

static void print_json(const struct logline *l)
{
	putchar('{');
	json_field(stdout, "time", l->time, true);
	json_field(stdout, "host", l->host, false);
	json_field(stdout, "program", l->program, false);
	json_field(stdout, "pid", l->pid, false);
	json_field(stdout, "queue_id", l->id, false);
	json_field(stdout, "event", str_c(l->event), false);
	json_name(stdout, "fields", false);
	putchar('{');
	for (size_t i = 0; i < l->n_fields; i++) {
		if (i)
			fputs(", ", stdout);
		json_string(stdout, l->fields[i].name);
		fputs(": ", stdout);
		json_string(stdout, l->fields[i].value);
	}
	putchar('}');
	json_field(stdout, "text", l->text, false);
	puts("}");
}

/* A login, or an attempt, with the name that is wanted, or from that address. The name comes last: what a client puts into it hides nothing. */
static bool is_login(const struct tracer *t, const struct logline *l)
{
	const ptrdiff_t from = str_find(l->text, STR(" rip=")), name = str_find(l->text, STR(" user=\""));

	if (strncmp(l->event, "login", 5) != 0 || !str_ends(l->program, STR("/authd")) || from < 0 || name < from)
		return false;
	struct str rip = str_from(l->text, (size_t)from + 5);
	const struct str user = str_from(l->text, (size_t)name + 7);

	return str_case_eq(str_split(&rip, ' '), t->wanted) || (user.n > 0 && str_case_eq(str_sub(user, 0, user.n - 1), t->wanted));
}

static void print(struct tracer *t, struct str line, const struct logline *l)
{
	const bool ours = t->logins ? is_login(t, l) : l->id.n > 0 ? map_get(t->ids, l->id) != NULL : names_it(t, l);

	if (!ours)
		return;
	t->printed++;
	if (t->json)
		print_json(l);
	else
		printf("%.*s\n", (int)line.n, line.p);
}

static int read_file(struct tracer *t, const char *name, bool printing)
{
	FILE *f = fopen(name, "re");
	char *text = NULL;
	size_t room = 0;

	if (!f) {
		fprintf(stderr, "postern trace: %s: %s\n", name, strerror(errno));
		return -1;
	}
	for (ssize_t n; (n = getline(&text, &room, f)) > 0;) {
		struct str line = str_n(text, (size_t)n);
		struct logline l;
		if (line.p[line.n - 1] == '\n')
			line.n--;
		if (logline_parse(line, &l) < 0)
			continue;
		if (printing)
			print(t, line, &l);
		else
			learn(t, &l);
	}
	free(text);
	fclose(f);
	return 0;
}

static int trace(struct tracer *t)
{
	int passes = 0;

	while (!t->logins) {
		t->grew = false;
		for (size_t i = 0; i < t->n_files; i++)
			if (read_file(t, t->files[i], false) < 0)
				return POSTERN_FAILED;
		if (!t->grew || ++passes == PASSES_MAX)
			break;
	}
	for (size_t i = 0; i < t->n_files; i++)
		(void)!read_file(t, t->files[i], true);
	if (t->printed == 0)
		fprintf(stderr, "postern trace: nothing about %.*s in the log\n", STR_ARG(t->wanted));
	return t->printed ? POSTERN_OK : POSTERN_FAILED;
}

/* The log, and the one that logrotate made of it last. */
static int default_files(struct tracer *t, const struct conf *c)
{
	static char before[1100];
	FILE *f;

	if (c->maillog_file[0] == '\0') {
		fputs("postern trace: the log goes to syslog (maillog_file is empty): name its file with --file\n", stderr);
		return -1;
	}
	(void)snprintf(before, sizeof(before), "%s.1", c->maillog_file);
	f = fopen(before, "re");
	if (f) {
		fclose(f);
		t->files[t->n_files++] = before;
	}
	t->files[t->n_files++] = c->maillog_file;
	return 0;
}

static void want(struct tracer *t, const char *text)
{
	t->wanted = str_trim(str_c(text));
	if (t->wanted.n > 2 && t->wanted.p[0] == '<' && t->wanted.p[t->wanted.n - 1] == '>')
		t->wanted = str_sub(t->wanted, 1, t->wanted.n - 2);
	t->by_id = !t->logins && event_is_id(t->wanted);
	if (t->by_id)
		follow(t, t->wanted);
}

int postern_trace(const struct postern *p, int argc, char **argv)
{
	static const struct option longs[] = { { "json", no_argument, NULL, 'j' }, { "file", required_argument, NULL, 'f' }, { "logins", no_argument, NULL, 'l' },
					       { "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 } };
	struct tracer t = { 0 };
	struct conf *c = NULL;
	int status = POSTERN_CONFIG;

	optind = 0;
	for (int ch; (ch = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
		if (ch == 'h')
			return usage(stdout, POSTERN_OK);
		if (ch == 'j')
			t.json = true;
		else if (ch == 'l')
			t.logins = true;
		else if (ch == 'f' && t.n_files < FILES_MAX && strcmp(optarg, "-") != 0)
			t.files[t.n_files++] = optarg;
		else
			return usage(stderr, POSTERN_USAGE);
	}
	if (optind + 1 != argc)
		return usage(stderr, POSTERN_USAGE);
	t.ids = map_new();
	want(&t, argv[optind]);
	if (t.n_files > 0 || ((c = postern_conf(p)) != NULL && default_files(&t, c) == 0))
		status = trace(&t);
	map_free(&t.ids);
	conf_free(&c);
	return status;
}
