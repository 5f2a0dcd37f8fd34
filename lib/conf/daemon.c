/* The command line of a daemon: a row for each option. */
#include "conf/daemon.h"

#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <sysexits.h>

#include "base/num.h"
#include "conf/conf.h"

static const struct row {
	char letter;
	size_t flag;		/* in struct daemon_options */
	const char *what;	/* NULL: the daemon says it, at */
	size_t said;		/* in struct daemon_usage; 0: every daemon takes it. The first member is no text of an option */
} rows[] = {
	{ 'f', offsetof(struct daemon_options, foreground), "stay in the foreground", 0 },
	{ 'i', offsetof(struct daemon_options, inetd), NULL, offsetof(struct daemon_usage, inetd) },
	{ 's', offsetof(struct daemon_options, separate), NULL, offsetof(struct daemon_usage, separate) },
	{ 't', offsetof(struct daemon_options, test), "test the configuration, then exit", offsetof(struct daemon_usage, test) },
	{ 'T', offsetof(struct daemon_options, test_quick), NULL, offsetof(struct daemon_usage, test_quick) },
	{ 'v', offsetof(struct daemon_options, verbose), "debug lines, and all lines on standard error too", 0 },
	{ 'n', offsetof(struct daemon_options, unconfined), "no sandbox (development only)", 0 },
};

/* What the help says of an option; NULL: the daemon does not take it. */
static const char *said(const struct row *r, const struct daemon_usage *u)
{
	const char *own = r->said ? *(const char *const *)((const char *)u + r->said) : NULL;

	return own ? own : r->what;
}

static int usage(const struct daemon_usage *u, FILE *to, int status)
{
	(void)fprintf(to, "usage: %s [-", u->program);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (said(&rows[i], u))
			(void)fputc(rows[i].letter, to);
	(void)fprintf(to, "] [-c FILE] [--help] [--version]\n  -c FILE  configuration (default %s)\n", conf_default_file());
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (said(&rows[i], u))
			(void)fprintf(to, "  -%c       %s\n", rows[i].letter, said(&rows[i], u));
	return status;
}

int daemon_options_get(int argc, char **argv, const struct daemon_usage *u, struct daemon_options *out)
{
	static const struct option longs[] = {
		{ "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'V' }, { "no-sandbox", no_argument, NULL, 'n' }, { NULL, 0, NULL, 0 },
	};
	char letters[ARRAY_LEN(rows) + 3] = "c:";

	for (size_t i = 0, n = 2; i < ARRAY_LEN(rows); i++)
		if (said(&rows[i], u))
			letters[n++] = rows[i].letter;
	*out = (struct daemon_options){ .conf_file = conf_default_file() };
	for (int c; (c = getopt_long(argc, argv, letters, longs, NULL)) != -1;) {
		if (c == 'h')
			return usage(u, stdout, 0);
		if (c == 'V') {
			(void)printf("%s (Postern) " POSTERN_VERSION "\n", u->program);
			return 0;
		}
		if (c == '?')
			return usage(u, stderr, EX_USAGE);
		if (c == 'c')
			out->conf_file = optarg;
		for (size_t i = 0; i < ARRAY_LEN(rows); i++)
			if (rows[i].letter == c)
				*(bool *)((char *)out + rows[i].flag) = true;
	}
	return optind < argc ? usage(u, stderr, EX_USAGE) : -1;
}
