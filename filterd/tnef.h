/* TNEF ("winmail.dat"): Outlook's container of attachments. Pure (fuzzed). */
#ifndef FILTERD_TNEF_H
#define FILTERD_TNEF_H

#include "base/arena.h"
#include "base/str.h"

enum { TNEF_FILES_MAX = 200, TNEF_NAMES_MAX = 4, TNEF_PROPS_MAX = 4096 };

struct tnef_file {
	struct str names[TNEF_NAMES_MAX];	/* every name that it is given, UTF-8 where it is UTF-16 */
	size_t n_names;
	struct str data;			/* borrowed */
};
struct tnef {
	struct tnef_file v[TNEF_FILES_MAX];
	size_t n;
	bool damaged;	/* it ends early, or a length is wrong: what came before stands */
	bool over;	/* more than the limits allow */
};
void tnef_read(struct arena *a, struct str data, struct tnef *out);

#endif
