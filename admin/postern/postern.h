/* The umbrella command `postern`: its built-in words, one function each; other words are programs. */
#ifndef ADMIN_POSTERN_H
#define ADMIN_POSTERN_H

#include <stdbool.h>
#include <stdio.h>

#include "base/attr.h"
#include "base/str.h"
#include "conf/conf.h"

enum { POSTERN_OK = 0, POSTERN_FAILED = 1, POSTERN_USAGE = 64, POSTERN_TEMP = 75, POSTERN_CONFIG = 78 };

struct postern {
	const char *conf_file;
	const char *libexec;	/* where programs are */
};

/* Each gets its own argv (argv[0] is the word) and returns the exit status. */
int postern_check(const struct postern *p, int argc, char **argv);
int postern_config(const struct postern *p, int argc, char **argv);
int postern_status(const struct postern *p, int argc, char **argv);
int postern_trace(const struct postern *p, int argc, char **argv);
int postern_why(const struct postern *p, int argc, char **argv);

/* Load, problems to stderr. NULL when there are errors. */
struct conf *postern_conf(const struct postern *p);

#endif
