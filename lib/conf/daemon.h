/* The command line of a daemon. Every daemon of the suite takes the same options, and all of them mean the same everywhere. */
#ifndef CONF_DAEMON_H
#define CONF_DAEMON_H

#include <stdbool.h>

#include "base/attr.h"

struct daemon_options {
	const char *conf_file;	/* never NULL */
	bool foreground;	/* -f */
	bool separate;		/* -s: what another unit of the service manager has taken over, as the daemon says it */
	bool test;		/* -t */
	bool test_quick;	/* -T: without what takes long, as the daemon says it */
	bool verbose;		/* -v */
	bool unconfined;	/* -n, --no-sandbox */
	bool inetd;		/* -i */
};

/* NULL: the daemon does not take the option. */
struct daemon_usage {
	const char *program;
	const char *separate;	/* the line of -s */
	const char *inetd;	/* the line of -i */
	const char *test;	/* the line of -t, where more than the configuration is looked at */
	const char *test_quick;	/* the line of -T */
};

/* -1: go on. Else the exit status: help or the version was shown, or the use was wrong and the usage stands on standard error (EX_USAGE). */
int daemon_options_get(int argc, char **argv, const struct daemon_usage *u, struct daemon_options *out) MUST_CHECK;

#endif
