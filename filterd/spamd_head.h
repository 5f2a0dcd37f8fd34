/* spamd's protocol, the request's head: "CHECK SPAMC/1.5", fields, an empty line. Pure (fuzzed). */
#ifndef FILTERD_SPAMD_HEAD_H
#define FILTERD_SPAMD_HEAD_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

enum { SPAMD_HEAD_MAX = 8192, SPAMD_USER_MAX = 255 };

enum { SPAMD_LOCAL = 1, SPAMD_REMOTE = 2 };

enum spamd_method {
#define SPAMD_METHOD(name, body, doc) SPAMD_##name,
#include "spamd.def"
#undef SPAMD_METHOD
	SPAMD_METHODS
};
extern const char *const spamd_method_names[SPAMD_METHODS];
bool spamd_method_has_body(enum spamd_method m);

struct spamd_head {
	enum spamd_method method;
	bool sized, compressed;		/* Content-length was there; Compress was */
	uint64_t length;
	struct str user;		/* borrowed */
	enum { SPAMD_CLASS_NONE, SPAMD_CLASS_SPAM, SPAMD_CLASS_HAM } class;	/* of TELL: Message-class */
	unsigned set, remove;		/* of TELL: SPAMD_LOCAL, SPAMD_REMOTE */
};
/* 0: *out, *used; 1: need more; -1: ERR_INPUT, or ERR_LIMIT when it is longer than SPAMD_HEAD_MAX. */
int spamd_head_parse(struct str in, struct spamd_head *out, size_t *used, struct err *e) MUST_CHECK;

#endif
