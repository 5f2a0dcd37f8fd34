/* For tests: a message through the virus stage alone, and what that found. */
#ifndef FILTERD_TEST_FOUND_H
#define FILTERD_TEST_FOUND_H

#include "scan.h"

struct found {
	char name[120];		/* empty: nothing */
};
/* What stage_virus() returns. */
int virus_found(const struct filter_rules *rules, struct str message, struct found *found);

#endif
