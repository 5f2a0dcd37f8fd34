/* postern: one name for the administrator. `postern WORD …` runs a built-in word, or the program postern-WORD of the same
 * installation; -c before the word is passed on. */
#include "admin/postern/postern.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/near.h"
#include "os/os.h"

static int word_help(const struct postern *p, int argc, char **argv);
static int word_version(const struct postern *p, int argc, char **argv);

static const struct word {
	const char *name, *what;
	int (*run)(const struct postern *p, int argc, char **argv);
} words[] = {
	{ "check", "report every mistake of configuration, maps, certificates and permissions",
	  postern_check },
	{ "config", "print parameters", postern_config },
	{ "why", "explain where an address's mail goes, and why", postern_why },
	{ "trace", "all events of a message from the log", postern_trace },
	{ "status", "what runs, who is connected, what waits, how fast", postern_status },
	{ "help", "list the words, or describe one", word_help },
	{ "version", "print the version", word_version },
};

/* Programs that are known by other names than postern-WORD. */
static const struct {
	const char *name, *what;
} others[] = {
	{ "postmap", "compile or query a map" },
	{ "postalias", "compile or query an aliases file" },
	{ "newaliases", "compile the maps of alias_database" },
	{ "sendmail", "submit a message" },
	{ "postqueue", "look at the queue, with Postfix's options" },
	{ "postsuper", "act on the queue, with Postfix's options" },
	{ "postcat", "print a message of the queue, with Postfix's options" },
};

static const struct {
	const char *name, *what;
} known[] = {
	{ "user", "the suite's own users and their passwords" },
	{ "alias", "where mail for a name goes that is no user's" },
	{ "queue", "the mail queue" },
	{ "filter", "explain what the filter says of a message" },
	{ "learn", "learn what is spam and what is not" },
	{ "quarantine", "mail that the filter keeps from its recipients" },
	{ "mailbox", "check and repair mailboxes" },
	{ "import", "bring in mail from files, old homes and other servers" },
	{ "backup", "save mail and the server's files while everything runs" },
	{ "alarm", "tell postmaster of a full disk, old queue, certificate, signatures; once" },
	{ "report", "what went through: table, JSON, a page with charts, a mail" },
	{ "restore", "bring back what was saved" },
	{ "dkim", "keys that sign the mail of our domains" },
	{ "dmarc", "reports of DMARC to the owners of domains" },
	{ "setup", "make a mail server for a domain, and say what DNS needs" },
	{ "webmail", "a webmail on this machine, and client set-up by Thunderbird and Outlook" },
	{ "run", "start the daemons and keep them running" },
	{ "sockets", "write systemd's socket units for the listeners; systemd runs it" },
};

static int word_version(const struct postern *p, int argc, char **argv)
{
	puts("postern " POSTERN_VERSION);
	return POSTERN_OK;
}

static const char *describe(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (strcmp(known[i].name, name) == 0)
			return known[i].what;
	return "";
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list_programs(const struct postern *p)
{
	enum { PROGRAMS_MAX = 64 };
	char *names[PROGRAMS_MAX];
	size_t n = 0;
	DIR *d = opendir(p->libexec);

	for (struct dirent *ent; d && (ent = readdir(d));)
		if (strncmp(ent->d_name, "postern-", 8) == 0 && !strchr(ent->d_name, '.') &&
		    n < PROGRAMS_MAX)
			names[n++] = xstrdup(ent->d_name + 8);
	if (d)
		closedir(d);
	qsort(names, n, sizeof(names[0]), by_name);
	for (size_t i = 0; i < n; i++) {
		printf("  %-10s %s\n", names[i], describe(names[i]));
		free(names[i]);
	}
}

static int list_words(const struct postern *p, FILE *to, int status)
{
	fputs("usage: postern [-c FILE] WORD ...\n\n", to);
	if (to != stdout)
		return status;
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		printf("  %-10s %s\n", words[i].name, words[i].what);
	list_programs(p);
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		printf("  %-10s %s\n", others[i].name, others[i].what);
	puts("\npostern help WORD describes a word.");
	return status;
}

static const struct word *word_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcmp(words[i].name, name) == 0)
			return &words[i];
	return NULL;
}

static bool word_sane(const char *name)
{
	for (const char *s = name; *s; s++)
		if (!ch_lower_p(*s) && !ch_digit(*s) && (*s != '-' || s == name))
			return false;
	return name[0] != 0;
}

static bool is_other(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		if (strcmp(others[i].name, name) == 0)
			return true;
	return false;
}

/* The word that was meant, or NULL; of the programs those that are there. */
static const char *word_meant(const struct postern *p, const char *word)
{
	char path[PATH_MAX];
	struct near n;

	near_init(&n, str_c(word));
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		near_try(&n, words[i].name);
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		near_try(&n, others[i].name);
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (snprintf(path, sizeof(path), "%s/postern-%s", p->libexec, known[i].name) < (int)sizeof(path) && access(path, X_OK) == 0)
			near_try(&n, known[i].name);
	return near_best(&n);
}

static int no_word(const struct postern *p, const char *word)
{
	const char *const meant = word_meant(p, word);

	fprintf(stderr, "postern: no word \"%s\"%s%s; \"postern help\" lists them\n", word, meant ? "; meant is perhaps " : "", meant ? meant : "");
	return POSTERN_USAGE;
}

/* argv[0] is the word. Does not return when the program starts. */
static int run_program(const struct postern *p, int argc, char **argv)
{
	char path[PATH_MAX];
	char **v = xzalloc(sizeof(*v) * ((size_t)argc + 3));
	int n = 0;

	if (!word_sane(argv[0])) {
		fprintf(stderr, "postern: \"%s\" is not a word; \"postern help\" lists them\n",
			argv[0]);
		return POSTERN_USAGE;
	}
	(void)snprintf(path, sizeof(path), "%s/%s%s", p->libexec,
		       is_other(argv[0]) ? "" : "postern-", argv[0]);
	v[n++] = path;
	if (p->conf_file) {
		v[n++] = xstrdup("-c");
		v[n++] = xstrdup(p->conf_file);
	}
	for (int i = 1; i < argc; i++)
		v[n++] = argv[i];
	execv(path, v);
	if (errno == ENOENT)
		return no_word(p, argv[0]);
	fprintf(stderr, "postern: %s: %s\n", path, strerror(errno));
	return POSTERN_FAILED;
}

static int word_help(const struct postern *p, int argc, char **argv)
{
	char help[] = "--help";
	char *v[] = { argc > 1 ? argv[1] : NULL, help, NULL };
	const struct word *w = argc > 1 ? word_find(argv[1]) : NULL;

	if (argc < 2)
		return list_words(p, stdout, POSTERN_OK);
	if (w && (w->run == word_help || w->run == word_version)) {
		printf("postern %s: %s\n", w->name, w->what);
		return POSTERN_OK;
	}
	return w ? w->run(p, 2, v) : run_program(p, 2, v);
}

struct conf *postern_conf(const struct postern *p)
{
	struct conf *c = NULL;

	return conf_load_told("postern", p->conf_file, false, &c) < 0 ? NULL : c;
}

/* The folder this program stands in, unless it was installed apart from the others. */
static const char *find_libexec(void)
{
	static char self[PATH_MAX];
	char probe[PATH_MAX + 16];
	const ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash = n > 0 ? memrchr(self, '/', (size_t)n) : NULL;

	if (!slash)
		return POSTERN_LIBEXECDIR;
	*slash = 0;
	(void)snprintf(probe, sizeof(probe), "%s/postmap", self);
	/* In a bin directory postmap may be a link; the daemons tell where libexec is. */
	if (access(probe, X_OK) == 0) {
		(void)snprintf(probe, sizeof(probe), "%s/queued", self);
		if (access(probe, F_OK) == 0)
			return self;
	}
	return POSTERN_LIBEXECDIR;
}

int main(int argc, char **argv)
{
	struct postern p = { 0 };
	int i = 1;

	proc_init(argc, argv);
	p.libexec = find_libexec();
	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "-c") == 0 && i + 1 < argc)
			p.conf_file = argv[++i];
		else if (strcmp(argv[i], "--version") == 0)
			return word_version(&p, 0, NULL);
		else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return list_words(&p, stdout, POSTERN_OK);
		else
			return list_words(&p, stderr, POSTERN_USAGE);
	}
	if (i == argc)
		return list_words(&p, stdout, POSTERN_USAGE);
	const struct word *w = word_find(argv[i]);

	return w ? w->run(&p, argc - i, argv + i) : run_program(&p, argc - i, argv + i);
}
