/* postern-setup: from an installed suite to a server for a domain. Says what it will do, asks once, does what is not done yet, and prints the
 * records to publish. A second run finds all there and changes nothing. */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/str.h"
#include "admin/setup/setup.h"
#include "os/os.h"

enum { EXIT_USAGE = 64, EXIT_CONFIG = 78, HOST_MAX = 253, LABEL_MAX = 63 };

static void say(const char *mark, const char *fmt, va_list ap)
{
	printf("  %-8s", mark);
	vprintf(fmt, ap);
	putchar('\n');
	fflush(stdout);
}

void setup_made(struct setup *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("made", fmt, ap);
	va_end(ap);
	s->made++;
}

void setup_kept(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("kept", fmt, ap);
	va_end(ap);
}

void setup_missing(struct setup *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("missing", fmt, ap);
	va_end(ap);
	s->missing++;
}

/* --- other tools of the suite --- */

static int run_tool(const struct setup *s, const char *name, char *const *args, bool quiet)
{
	char *argv[12] = { arena_printf(s->a, "%s/%s", s->conf->libexec_directory, name), arena_printf(s->a, "-c"),
			   arena_printf(s->a, "%s", s->conf_file) };
	int status = -1;

	for (size_t i = 0; args[i] && i + 4 < ARRAY_LEN(argv); i++)
		argv[i + 3] = args[i];
	fflush(stdout);
	const pid_t pid = fork();
	if (pid == 0) {
		if (quiet && (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr)))
			_exit(127);
		execv(argv[0], argv);
		fprintf(stderr, "postern-setup: %s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static char *word(const struct setup *s, const char *text)
{
	return arena_printf(s->a, "%s", text);
}

static int compile(struct setup *s, const char *tool, const struct conf_list *maps, struct err *e)
{
	for (size_t i = 0; i < maps->n; i++) {
		struct str file = str_c(maps->v[i]);
		const struct str type = str_split(&file, ':');

		if (!str_eq(type, STR("cdb")) || access(str_c(maps->v[i]).p + 4, R_OK) < 0)
			continue;
		char *args[] = { word(s, maps->v[i]), NULL };
		if (run_tool(s, tool, args, false) != 0)
			return err_set(e, ERR_TEMP, 0, "%s %s failed", tool, maps->v[i]);
	}
	return 0;
}

static int first_user(struct setup *s, struct err *e)
{
	char *show[] = { word(s, "show"), s->user ? word(s, s->user) : NULL, NULL };
	char *add[] = { word(s, "add"), show[1], word(s, s->password_stdin ? "--password-stdin" : "-p"), NULL };

	if (!s->user) {
		setup_kept("no user is made (--user NAME)");
		return 0;
	}
	if (run_tool(s, "postern-user", show, true) == 0) {
		setup_kept("user %s", s->user);
		return 0;
	}
	if (run_tool(s, "postern-user", add, false) != 0)
		return err_set(e, ERR_TEMP, 0, "user %s was not made", s->user);
	setup_made(s, "user %s", s->user);
	return 0;
}

/* --- the whole --- */

static void plan(const struct setup *s)
{
	printf("A mail server for %s, named %s. What is not there yet is made:\n"
	       "  %s with the settings that this needs\n"
	       "  a self-signed certificate (P-256), until one of a public authority takes its place\n"
	       "  the directories of queue, state and mail\n"
	       "  aliases for postmaster, abuse and root\n",
	       s->domain, s->hostname, s->conf_file);
	if (s->user)
		printf("  the user %s\n", s->user);
	puts("Nothing that is there is changed.");
}

static bool agreed(const struct setup *s)
{
	char line[16];

	if (s->yes)
		return true;
	if (!isatty(0)) {
		fputs("postern-setup: there is nobody to ask: say --yes\n", stderr);
		return false;
	}
	fputs("Go on? [Y/n] ", stdout);
	fflush(stdout);
	return fgets(line, sizeof(line), stdin) && line[0] != 'n' && line[0] != 'N';
}

static int steps(struct setup *s, struct err *e)
{
	if (setup_configuration(s, e) < 0 || setup_certificate(s, e) < 0 || setup_directories(s, e) < 0 || setup_aliases(s, e) < 0 ||
	    compile(s, "postalias", &s->conf->alias_maps, e) < 0 || compile(s, "postmap", &s->conf->virtual_alias_maps, e) < 0)
		return -1;
	return first_user(s, e);
}

static void what_next(struct setup *s)
{
	char *check = arena_printf(s->a, "%s/postern", s->conf->libexec_directory);

	if (access(arena_printf(s->a, "%s/queue/control", s->conf->run_directory), F_OK) < 0)
		setup_missing(s, "the suite does not run: systemctl enable --now postern.target, or postern-run");
	printf("\n%u made, %u missing. \"%s check\" tells more, also about what this program does not look at.\n\n", s->made, s->missing, check);
}

/* --- options --- */

static int usage(FILE *to)
{
	fputs("usage: postern-setup [-c FILE] [--hostname NAME] [--user NAME [--password-stdin]] [--yes | --dry-run | --dns] DOMAIN\n"
	      "Make a mail server for DOMAIN of an installed suite, and print the DNS records to publish. What is there is kept.\n"
	      "  --hostname NAME     name of this machine (default: mail.DOMAIN)\n"
	      "  --user NAME         the first user, who gets postmaster's and root's mail\n"
	      "  --password-stdin    that user's password is the first line of standard input (else it is asked for)\n"
	      "  --yes               do not ask\n"
	      "  --dry-run           say what would be done, and end\n"
	      "  --dns               print the DNS records, and end\n",
	      to);
	return to == stdout ? 0 : EXIT_USAGE;
}

/* Letters, digits, hyphens and dots, at least two labels. */
static bool host_valid(struct str h)
{
	size_t label = 0, labels = 1;

	for (size_t i = 0; i < h.n; i++) {
		const char c = h.p[i];

		if (c == '.') {
			if (label == 0 || h.p[i - 1] == '-')
				return false;
			label = 0;
			labels++;
		} else if ((!ch_alnum(c) && (c != '-' || label == 0)) || ++label > LABEL_MAX) {
			return false;
		}
	}
	return h.n <= HOST_MAX && label > 0 && labels > 1 && h.p[h.n - 1] != '-';
}

static const struct option longs[] = {
	{ "hostname", required_argument, NULL, 'H' }, { "user", required_argument, NULL, 'u' }, { "password-stdin", no_argument, NULL, 'P' },
	{ "yes", no_argument, NULL, 'y' },	      { "dry-run", no_argument, NULL, 'n' },	{ "dns", no_argument, NULL, 'd' },
	{ "help", no_argument, NULL, 'h' },	      { "version", no_argument, NULL, 'V' },	{ 0 },
};

static bool options_get(struct setup *s, int argc, char **argv, bool *dns_out)
{
	int opt;

	s->conf_file = conf_default_file();
	while ((opt = getopt_long(argc, argv, "c:", longs, NULL)) != -1) {
		switch (opt) {
		case 'c': s->conf_file = optarg; break;
		case 'H': s->hostname = optarg; break;
		case 'u': s->user = optarg; break;
		case 'P': s->password_stdin = true; break;
		case 'y': s->yes = true; break;
		case 'n': s->dry = true; break;
		case 'd': *dns_out = true; break;
		case 'h': exit(usage(stdout));
		case 'V':
			puts("Postern " POSTERN_VERSION);
			exit(0);
		default: return false;
		}
	}
	if (optind != argc - 1)
		return false;
	s->domain = argv[optind];
	return true;
}

static int names_settle(struct setup *s, struct err *e)
{
	if (!host_valid(str_c(s->domain)))
		return err_set(e, ERR_INPUT, 0, "%s is not a domain", s->domain);
	if (!s->hostname)
		s->hostname = arena_printf(s->a, "mail.%s", s->domain);
	if (!host_valid(str_c(s->hostname)))
		return err_set(e, ERR_INPUT, 0, "%s is not a full host name", s->hostname);
	if (s->user && !strchr(s->user, '@'))
		s->user = arena_printf(s->a, "%s@%s", s->user, s->domain);
	if (s->user && s->password_stdin && isatty(0))
		return err_set(e, ERR_INPUT, 0, "--password-stdin, and standard input is a terminal");
	return 0;
}

int main(int argc, char **argv)
{
	static struct setup s;
	struct err e = { 0 };
	bool dns = false;

	proc_init(argc, argv);
	if (!options_get(&s, argc, argv, &dns))
		return usage(stderr);
	s.a = arena_new(0);
	if (names_settle(&s, &e) < 0) {
		fprintf(stderr, "postern-setup: %s\n", e.text);
		return EXIT_USAGE;
	}
	if (dns) {
		setup_dns(&s);
		return 0;
	}
	plan(&s);
	if (s.dry)
		return 0;
	if (geteuid() != 0) {
		fputs("postern-setup: only root can do this\n", stderr);
		return 1;
	}
	if (!agreed(&s))
		return EXIT_USAGE;
	if (steps(&s, &e) < 0) {
		fprintf(stderr, "postern-setup: %s\n", e.text);
		return 1;
	}
	what_next(&s);
	setup_dns(&s);
	return 0;
}
