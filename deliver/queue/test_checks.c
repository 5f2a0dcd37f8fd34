/* header_checks and the like when memory ends: at whatever size of the transaction's arena, a message gets past only when all its lines were asked about. What queued does
 * with an answer stands here as a note of it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "deliver/queue/queued_trans.h"
#include "deliver/resolve/resolve.h"
#include "test/tap.h"

static uint64_t answered;	/* code; 0: not */
static size_t asked_lines, asked_parts, edits;
static bool passed;
static const char *action;	/* that each line has; NULL: none */

void trans_answer(struct trans *t, uint64_t code, const char *enhanced, struct str text)
{
	answered = code;
}

void trans_refuse(struct trans *t, enum queue_refuser by, uint64_t code, const char *enhanced, struct str text)
{
	answered = code;
}

int trans_edits(struct trans *t, const struct str *v, size_t n, struct err *e)
{
	edits += n;
	return v->p ? 0 : err_set(e, ERR_LIMIT, 0, "no memory");
}

struct ask *check_ask(struct queued *q, const struct ipc_resolve_CHECK *m, matched_fn *fn, void *ctx)
{
	struct str at[1] = { STR("0") }, actions[1] = { str_c(action ? action : "") };
	const struct ipc_resolve_MATCHES r = { .at = { at, action != NULL }, .actions = { actions, action != NULL } };

	asked_lines += m->lines.n;
	for (size_t i = 0; i < m->lines.n; i++)
		if (m->lines.v[i].n == 0)
			tap_ok(false, "an empty line was asked about");
	fn(ctx, &r);
	return NULL;
}

struct ask *parts_ask(struct queued *q, const struct ipc_resolve_PARTS *m, int fd, parts_fn *fn, void *ctx)
{
	struct str lines[1] = { STR("Content-Type: a/b") }, actions[1] = { str_c(action ? action : "") };
	const struct ipc_resolve_PART_MATCHES r = { .lines = { lines, action != NULL }, .actions = { actions, action != NULL } };

	asked_parts++;
	fn(ctx, &r);
	return NULL;
}

static void on_passed(struct trans *t)
{
	passed = true;
}

/* Many fields: the array of them grows beyond what the other arrays need. */
enum { MORE = 1000, HEAD_LINES = 6 + MORE, BODY_LINES = 40 };
static char head[MORE * 10 + 300];
static size_t head_n;

static void make_head(void)
{
	char *p = head + sprintf(head, "Subject: one\nTo: two\nX-Three: 3\n folded\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n");

	for (int i = 0; i < MORE; i++)
		p += sprintf(p, "X-%d:\n", i);
	p += sprintf(p, "X-Last: 6\n\n");
	head_n = (size_t)(p - head);
}

static int make_message(void)
{
	FILE *f = tmpfile();

	fputs(head, f);
	for (int i = 0; i < BODY_LINES; i++)
		fprintf(f, "line %d\n", i);
	fflush(f);
	return dup(fileno(f));
}

/* With max bytes left in the arena. */
static void run(const struct conf *c, int fd, uint64_t size, size_t max)
{
	struct conn_entry conn = { .client = "192.0.2.1" };
	struct arena *a = arena_new(max);
	struct trans t = { .conf = c, .conn = &conn, .arena = a, .fd = fd, .size = size, .head_text = str_n(head, head_n - 1) };

	answered = asked_lines = asked_parts = edits = 0;
	passed = false;
	checks_run(&t, on_passed);
	arena_free(&a);
}

static void sweep(const char *name, const char *text, const char *with, size_t lines, size_t parts, size_t step, int fd, uint64_t size)
{
	struct conf *c = NULL;
	struct err e = { 0 };
	unsigned wrong = 0, refusals = 0, passes = 0;

	action = with;
	if (conf_parse(str_c(text), "x", &c, NULL, &e) < 0) {
		tap_ok(false, "%s: %s", name, e.text);
		return;
	}
	for (size_t max = 1; max < 320000; max += step) {
		run(c, fd, size, max);
		passes += passed;
		refusals += answered != 0;
		wrong += passed == (answered != 0) || (passed && (asked_lines != lines || asked_parts != parts)) || (answered != 0 && answered < 400);
	}
	tap_is_int(wrong, 0, "%s: never past what was not asked about, never without an answer", name);
	tap_ok(refusals > 0, "%s: some arenas are too small (%u)", name, refusals);
	tap_ok(passes > 0, "%s: some are not (%u)", name, passes);
	conf_free(&c);
}

int main(void)
{
	make_head();
	const int fd = make_message();
	const uint64_t size = (uint64_t)lseek(fd, 0, SEEK_END);

	if (freopen("/dev/null", "w", stderr) == NULL)	/* each refusal is logged */
		return 1;
	sweep("header_checks", "header_checks = pcre:/x\nmime_header_checks =\nnested_header_checks =\n", NULL, HEAD_LINES - 2, 0, 1100, fd, size);
	sweep("with their defaults", "header_checks = pcre:/x\n", NULL, HEAD_LINES, 1, 9000, fd, size);
	sweep("body_checks", "body_checks = pcre:/x\n", NULL, BODY_LINES, 0, 900, fd, size);
	sweep("all, and something is found", "header_checks = pcre:/x\nbody_checks = pcre:/x\n", "DUNNO", HEAD_LINES + BODY_LINES, 1, 9000, fd, size);
	sweep("a blind copy", "header_checks = pcre:/x\n", "BCC joe@here.example", HEAD_LINES, 1, 9000, fd, size);
	return tap_done();
}
