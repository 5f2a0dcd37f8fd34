/* A request to queued, and what goes wrong as an exit status. */
#include <stdio.h>
#include <sysexits.h>

#include "admin/queue/queuetool.h"

enum { TEXT_MAX = 1024 };

int queue_ask(const struct conf *c, const char *word, const struct str *args, size_t n, control_line_fn *fn, void *ctx, FILE *to)
{
	struct err e = { 0 };
	struct buf text;

	buf_init(&text, TEXT_MAX);
	const int r = control_ask(c->run_directory, "queue/control", word, args, n, fn, ctx, &text, &e);
	if (r < 0)
		fprintf(stderr, "postern-queue: %s (is queued running, and are you root?)\n", e.text);
	else if (r > 0 && e.text[0])
		fprintf(stderr, "%s\n", e.text);
	else if (text.n > 0 && to)
		fprintf(to, "%s\n", text.p);
	buf_fini(&text);
	return r < 0 ? EX_UNAVAILABLE : r > 0 ? EX_DATAERR : 0;
}
