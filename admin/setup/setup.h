/* postern setup: its steps. Each looks first, changes nothing that is there, and says what it found or did. */
#ifndef ADMIN_SETUP_H
#define ADMIN_SETUP_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "conf/conf.h"

struct setup {
	const char *conf_file, *domain, *hostname;
	const char *user;		/* whole address; NULL: none is made */
	bool yes, dry, password_stdin;
	struct arena *a;
	struct conf *conf;		/* from step 1 on; what is in the file decides everything after it */
	unsigned made, missing;
};

void setup_made(struct setup *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
void setup_kept(const char *fmt, ...) PRINTF_LIKE(1, 2);
void setup_missing(struct setup *s, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* setup_files.c */
int setup_configuration(struct setup *s, struct err *e) MUST_CHECK;
int setup_certificate(struct setup *s, struct err *e) MUST_CHECK;
int setup_directories(struct setup *s, struct err *e) MUST_CHECK;
int setup_aliases(struct setup *s, struct err *e) MUST_CHECK;

/* setup_dns.c: the zone's lines, to standard output */
void setup_dns(const struct setup *s);

#endif
