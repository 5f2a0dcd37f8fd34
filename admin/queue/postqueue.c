/* postern-queue: the administrator's view of the queue. Its name decides what it understands: postern-queue takes words; postqueue, postsuper, postcat and mailq take
 * the options that Postfix's tools of these names have. All of it asks queued, or prints a message from the spool.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "admin/queue/queuetool.h"
#include "base/json.h"
#include "base/num.h"
#include "os/os.h"

enum { IDS_PER_REQUEST = 1000, ID_LINE_MAX = 128, KEY_MAX = 64 };

/* --- requests about messages --- */

/* In portions that fit a request. */
static int ask_ids(const struct conf *c, const char *word, const struct str *ids, size_t n, FILE *to)
{
	int status = 0;

	for (size_t i = 0; i < n && status != EX_UNAVAILABLE; i += IDS_PER_REQUEST) {
		const int r = queue_ask(c, word, ids + i, n - i < IDS_PER_REQUEST ? n - i : IDS_PER_REQUEST, NULL, NULL, to);
		status = r ? r : status;
	}
	return status;
}

/* One id that queued does not know is most often mistyped. */
static int ask_named(const struct conf *c, const char *word, const struct str *ids, size_t n)
{
	const int r = ask_ids(c, word, ids, n, stdout);

	if (r == EX_DATAERR && n == 1 && !str_eq(ids[0], STR("ALL")))
		fprintf(stderr, "postern-queue: %.*s is not in the queue\n", STR_ARG(str_sub(ids[0], 0, ID_LINE_MAX)));
	return r;
}

/* --- words --- */

static void usage(FILE *to)
{
	fprintf(to, "usage: postern-queue [-c FILE] list [--json] [FILTER…]\n"
		    "       postern-queue [-c FILE] flush [ID… | FILTER…] | flush-domain DOMAIN…\n"
		    "       postern-queue [-c FILE] hold | release | requeue | expire | delete ID… | FILTER…\n"
		    "       postern-queue [-c FILE] show ID | tls-report\n"
		    "       postern-queue [-c FILE] status | tls [--json]\n"
		    "  ID may be ALL, and - reads ids from standard input. Without a word: list.\n"
		    "  FILTER: --sender TEXT, --recipient TEXT, --reason TEXT: what contains it; several must all hold.\n");
}

/* Ids from stdin, one a line. */
static size_t read_ids(struct arena *a, struct str **out)
{
	char line[ID_LINE_MAX];
	size_t n = 0, cap = 64;
	struct str *v = ARENA_ARRAY(a, struct str, cap);

	while (fgets(line, sizeof(line), stdin)) {
		struct str s = str_trim(str_c(line)), word;
		if (!str_token(&s, " \t*!#", &word))
			continue;
		if (n == cap) {
			struct str *more = ARENA_ARRAY(a, struct str, cap * 2);
			memcpy(more, v, cap * sizeof(*v));
			v = more;
			cap *= 2;
		}
		v[n++] = arena_str(a, word);
	}
	*out = v;
	return n;
}

static bool filters(const struct queue_filter *f)
{
	return f->sender || f->recipient || f->reason;
}

/* The messages that a word is about: ids, "-", or what the filter finds. -1: none was named. */
static int collect(const struct conf *c, char **args, int n, const struct queue_filter *f, struct arena *a, struct str **ids, size_t *n_ids)
{
	*n_ids = 0;
	if (n == 0 && filters(f))
		return queue_select(c, f, a, ids, n_ids);
	if (n == 1 && strcmp(args[0], "-") == 0) {
		*n_ids = read_ids(a, ids);
		return 0;
	}
	*ids = ARENA_ARRAY(a, struct str, (size_t)n + 1);
	for (int i = 0; i < n; i++)
		(*ids)[(*n_ids)++] = str_c(args[i]);
	return n > 0 ? 0 : -1;
}

static int act(const struct conf *c, const char *word, char **args, int n, const struct queue_filter *f)
{
	struct arena *a = arena_new(0);
	struct str *ids = NULL;
	size_t n_ids = 0;
	int r = collect(c, args, n, f, a, &ids, &n_ids);

	if (r < 0 && strcmp(word, "flush") == 0) {
		r = queue_ask(c, word, NULL, 0, NULL, NULL, stdout);
	} else if (r < 0) {
		fprintf(stderr, "postern-queue: %s: which message? (an id, ALL, -, or a filter)\n", word);
		r = EX_USAGE;
	} else if (r == 0 && n_ids == 0) {
		fprintf(stderr, "postern-queue: %s: no such message\n", word);
		r = EX_DATAERR;
	} else if (r == 0) {
		r = ask_named(c, word, ids, n_ids);
	}
	arena_free(&a);
	return r;
}

static void print_pairs(void *ctx, const struct ipc_control_LINE *l)
{
	for (size_t i = 0; i < l->keys.n && i < l->values.n; i++)
		printf("%.*s: %.*s\n", STR_ARG(l->keys.v[i]), STR_ARG(l->values.v[i]));
	printf("\n");
}

/* One object a line; what is a count is a number. */
static void print_object(void *ctx, const struct ipc_control_LINE *l)
{
	printf("{");
	for (size_t i = 0; i < l->keys.n && i < l->values.n; i++) {
		char name[KEY_MAX + 1];
		uint64_t v;
		snprintf(name, sizeof(name), "%.*s", STR_ARG(l->keys.v[i]));
		if (num_parse(l->values.v[i], 0, INT64_MAX, &v) == 0)
			json_number(stdout, name, (long long)v, i == 0);
		else
			json_field(stdout, name, l->values.v[i], i == 0);
	}
	printf("}\n");
}

static int do_word(const struct conf *c, const char *word, char **args, int n, const struct queue_filter *f, bool json)
{
	static const char *const acts[] = { "flush", "hold", "release", "requeue", "expire", "delete", "flush-domain" };

	if (strcmp(word, "list") == 0 && n == 0)
		return queue_list(c, f, json);
	if ((strcmp(word, "status") == 0 || strcmp(word, "tls") == 0 || strcmp(word, "tls-report") == 0) && n == 0)
		return queue_ask(c, word, NULL, 0, json ? print_object : print_pairs, NULL, json ? stderr : stdout);
	if (strcmp(word, "show") == 0 && n == 1)
		return queue_show(c, args[0], "ehb", false);
	for (size_t i = 0; i < ARRAY_LEN(acts); i++)
		if (strcmp(word, acts[i]) == 0)
			return act(c, word, args, n, f);
	usage(stderr);
	return EX_USAGE;
}

static int by_words(struct conf *c, char **args, int n, const struct queue_filter *f, bool json)
{
	return n == 0 ? do_word(c, "list", NULL, 0, f, json) : do_word(c, args[0], args + 1, n - 1, f, json);
}

/* --- the names that Postfix's tools have --- */

struct named {
	const struct conf *conf;
	const char *name;
	const struct queue_filter *filter;
};

/* postqueue -p | -j | -f | -i ID | -s DOMAIN */
static int as_postqueue(const struct named *t, int argc, char **argv)
{
	struct str arg;

	optind = 1;
	int opt;
	do
		opt = getopt(argc, argv, "+c:vpjfi:s:");
	while (opt == 'c' || opt == 'v');
	arg = str_c(optarg ? optarg : "");
	switch (opt) {
	case 'p': return queue_list(t->conf, t->filter, false);
	case 'j': return queue_list(t->conf, t->filter, true);
	case 'f': return queue_ask(t->conf, "flush", NULL, 0, NULL, NULL, NULL);
	case 'i': return queue_ask(t->conf, "flush", &arg, 1, NULL, NULL, NULL);
	case 's': return queue_ask(t->conf, "flush-domain", &arg, 1, NULL, NULL, NULL);
	default: break;
	}
	fprintf(stderr, "usage: postqueue -p | -j | -f | -i ID | -s DOMAIN\n");
	return EX_USAGE;
}

static const struct super_act {
	char option;
	const char *word, *done;
} super_acts[] = {
	{ 'd', "delete", "Deleted" }, { 'h', "hold", "Placed on hold" }, { 'H', "release", "Released from hold" }, { 'r', "requeue", "Requeued" },
	{ 'e', "expire", "Expired" }, { 'f', "expire-release", "Expired and released" },
};

/* What is said at the end of one option, as Postfix says it; 0 messages is no failure. */
static int super_one(const struct named *t, const struct super_act *act, const char *id)
{
	struct arena *a = arena_new(0);
	struct str one = str_c(id), *ids = &one;
	size_t n = 1;

	if (strcmp(id, "-") == 0)
		n = read_ids(a, &ids);
	fprintf(stderr, "postsuper: ");
	const int r = ask_ids(t->conf, act->word, ids, n, stderr);
	arena_free(&a);
	return r == EX_DATAERR ? 0 : r;
}

/* postsuper -d|-e|-f|-h|-H|-r ID|ALL|- … [queue names, which there is no need for here]; -p and -s find nothing to do. */
static int as_postsuper(const struct named *t, int argc, char **argv)
{
	int status = 0, n = 0;

	optind = 1;
	for (int opt; (opt = getopt(argc, argv, "+c:vpsSd:e:f:h:H:r:")) != -1;) {
		const struct super_act *act = NULL;
		for (size_t i = 0; i < ARRAY_LEN(super_acts); i++)
			if (super_acts[i].option == opt)
				act = &super_acts[i];
		n += opt != 'v' && opt != 'c';
		if (opt == 'p' || opt == 's' || opt == 'S' || opt == 'v' || opt == 'c')
			continue;
		if (act == NULL) {
			fprintf(stderr, "usage: postsuper [-d ID|ALL|-] [-e ID|ALL|-] [-f ID|ALL|-] [-h ID|ALL|-] [-H ID|ALL|-] [-r ID|ALL|-] [-ps]\n");
			return EX_USAGE;
		}
		const int r = super_one(t, act, optarg);
		status = r ? r : status;
	}
	if (n == 0)
		fprintf(stderr, "postsuper: nothing to do\n");
	return n ? status : EX_USAGE;
}

/* postcat [-e] [-h] [-b] -q ID … */
static int as_postcat(const struct named *t, int argc, char **argv)
{
	char parts[4] = "";
	bool queue = false;
	int status = 0;

	optind = 1;
	for (int opt; (opt = getopt(argc, argv, "+c:vqehbo")) != -1;) {
		queue |= opt == 'q';
		if ((opt == 'e' || opt == 'h' || opt == 'b') && !strchr(parts, opt) && strlen(parts) < 3)
			parts[strlen(parts)] = (char)opt;
		if (opt == '?')
			queue = false;
	}
	if (!queue || optind == argc) {
		fprintf(stderr, "usage: postcat [-e] [-h] [-b] -q ID …\n");
		return EX_USAGE;
	}
	for (int i = optind; i < argc; i++) {
		const int r = queue_show(t->conf, argv[i], parts[0] ? parts : "ehb", true);
		status = r ? r : status;
	}
	return status;
}

static int as_mailq(const struct named *t, int argc, char **argv)
{
	return queue_list(t->conf, t->filter, false);
}

static const struct {
	const char *name;
	int (*run)(const struct named *t, int argc, char **argv);
} names[] = { { "postqueue", as_postqueue }, { "postsuper", as_postsuper }, { "postcat", as_postcat }, { "mailq", as_mailq } };

/* -c FILE among Postfix's options: a directory in Postfix, a file or a directory here. */
static const char *find_conf(int argc, char **argv)
{
	for (int i = 1; i + 1 < argc; i++)
		if (strcmp(argv[i], "-c") == 0)
			return argv[i + 1];
	return conf_default_file();
}

static int run_named(const char *name, int argc, char **argv, int (*run)(const struct named *t, int argc, char **argv))
{
	static const struct queue_filter none;
	struct named t = { .name = name, .filter = &none };
	struct conf *c = NULL;

	if (conf_load_told(name, find_conf(argc, argv), false, &c) < 0)
		return EX_CONFIG;
	t.conf = c;
	const int r = run(&t, argc, argv);
	conf_free(&c);
	return r;
}

static int run_words(int argc, char **argv)
{
	enum { SENDER = 256, RECIPIENT, REASON };
	static const struct option longs[] = {
		{ "json", no_argument, NULL, 'j' }, { "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'V' },
		{ "sender", required_argument, NULL, SENDER }, { "recipient", required_argument, NULL, RECIPIENT }, { "reason", required_argument, NULL, REASON }, { 0 },
	};
	const char *file = conf_default_file();
	struct queue_filter f = { 0 };
	struct conf *c = NULL;
	bool json = false;

	for (int opt; (opt = getopt_long(argc, argv, "c:jph", longs, NULL)) != -1;)
		switch (opt) {
		case 'c': file = optarg; break;
		case 'j': json = true; break;
		case 'p': break;
		case SENDER: f.sender = optarg; break;
		case RECIPIENT: f.recipient = optarg; break;
		case REASON: f.reason = optarg; break;
		case 'h': usage(stdout); return 0;
		case 'V': printf("Postern %s\n", POSTERN_VERSION); return 0;
		default: usage(stderr); return EX_USAGE;
		}
	if (conf_load_told("postern-queue", file, false, &c) < 0)
		return EX_CONFIG;
	const int r = by_words(c, argv + optind, argc - optind, &f, json);
	conf_free(&c);
	return r;
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(name, names[i].name) == 0)
			return run_named(name, argc, argv, names[i].run);
	return run_words(argc, argv);
}
