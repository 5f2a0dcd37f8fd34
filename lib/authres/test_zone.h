/* Answers from a table, for tests: lines "name TYPE value". TYPE "TIMEOUT": nobody answers for that name. */
#ifndef AUTHRES_TEST_ZONE_H
#define AUTHRES_TEST_ZONE_H

#include "authres/auth.h"

struct zone {
	struct str text;
	unsigned asked;
};
struct str zone_unescape(struct arena *a, struct str s);	/* \xHH */
struct auth_answer zone_ask(void *ctx, struct arena *a, struct str name, unsigned type);	/* ctx: struct zone */

#endif
