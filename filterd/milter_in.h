/* What an MTA sends to a milter (the other direction is smtp/milter.h). Pure (fuzzed). */
#ifndef FILTERD_MILTER_IN_H
#define FILTERD_MILTER_IN_H

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

enum { MILTER_STRINGS_MAX = 64 };

struct milter_command {
	char command;		/* O D C H M R T L N B E U A Q K */
	uint32_t version, actions, protocol;	/* O */
	char stage;				/* D: the command that its macros belong to */
	char family;				/* C: 4 6 L U */
	uint16_t port;
	struct str v[MILTER_STRINGS_MAX];	/* D: names and values; C: host, address; H M R U: strings; L: name, value; what is beyond the maximum is left out */
	size_t n;
	struct str bytes;			/* B, E */
};
int milter_command_get(char command, struct str data, struct milter_command *out, struct err *e) MUST_CHECK;
/* D: the value of a macro, "i" or "auth_authen" (with or without braces on the wire); p NULL: not there. */
struct str milter_macro(const struct milter_command *c, const char *name);

#endif
