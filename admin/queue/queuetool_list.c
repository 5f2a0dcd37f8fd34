/* The queue as a list: in the form of Postfix's postqueue -p, which scripts parse, or as one JSON object a line, as postqueue -j. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "base/json.h"
#include "admin/queue/queuetool.h"

struct lister {
	struct arena *a;
	const struct queue_filter *filter;
	void (*print)(struct lister *l, const struct queue_message *m);
	struct queue_message *open;	/* its recipients follow */
	uint64_t bytes, messages;
	struct str *ids;
	size_t cap;
};

/* --- filters --- */

static bool has(struct str text, const char *part)
{
	const size_t n = strlen(part);

	for (size_t i = 0; i + n <= text.n; i++)
		if (str_case_eq(str_sub(text, i, n), str_n(part, n)))
			return true;
	return false;
}

static bool matches(const struct queue_message *m, const struct queue_filter *f)
{
	bool recipient = !f->recipient, reason = !f->reason;

	if (f->sender && !has(m->sender.n ? m->sender : STR("MAILER-DAEMON"), f->sender))
		return false;
	for (const struct queue_rcpt *r = m->rcpts; r; r = r->next) {
		recipient |= f->recipient && has(r->address, f->recipient);
		reason |= f->reason && has(r->reason, f->reason);
	}
	return recipient && reason;
}

/* --- rows to messages --- */

static void close_message(struct lister *l)
{
	const struct queue_message *m = l->open;

	l->open = NULL;
	if (m && matches(m, l->filter)) {
		l->print(l, m);
		l->messages++;
		l->bytes += m->size;
	}
}

static void open_message(struct lister *l, const struct ipc_control_LINE *line)
{
	close_message(l);
	if (l->ids == NULL)
		arena_reset(l->a);
	struct queue_message *m = ARENA_NEW(l->a, struct queue_message);
	m->id = arena_str(l->a, control_value(line, "queue_id"));
	m->queue = arena_str(l->a, control_value(line, "queue_name"));
	m->sender = arena_str(l->a, control_value(line, "sender"));
	m->arrived = control_number(line, "arrival_time");
	m->size = control_number(line, "message_size");
	m->expired = str_eq(control_value(line, "forced_expire"), STR("yes"));
	m->end = &m->rcpts;
	l->open = m;
}

static void on_line(void *ctx, const struct ipc_control_LINE *line)
{
	struct lister *l = ctx;

	if (control_value(line, "queue_id").n > 0) {
		open_message(l, line);
	} else if (l->open) {
		struct queue_rcpt *r = ARENA_NEW(l->a, struct queue_rcpt);
		r->address = arena_str(l->a, control_value(line, "recipient"));
		r->reason = arena_str(l->a, control_value(line, "delay_reason"));
		r->state = arena_str(l->a, control_value(line, "state"));
		*l->open->end = r;
		l->open->end = &r->next;
	}
}

/* --- the classic form --- */

static void print_classic(struct lister *l, const struct queue_message *m)
{
	const time_t when = (time_t)m->arrived;
	char stamp[40] = "", id[32];
	struct str said = STR("");
	struct tm tm;

	if (l->messages == 0)
		printf("-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------\n");
	else
		printf("\n");
	if (localtime_r(&when, &tm))
		strftime(stamp, sizeof(stamp), "%a %b %e %H:%M:%S", &tm);
	snprintf(id, sizeof(id), "%.*s%s%s", STR_ARG(m->id), str_eq(m->queue, STR("active")) ? "*" : str_eq(m->queue, STR("hold")) ? "!" : "", m->expired ? "#" : "");
	printf("%-11s %7llu %s  %.*s\n", id, (unsigned long long)m->size, stamp, STR_ARG(m->sender.n ? m->sender : STR("MAILER-DAEMON")));
	for (const struct queue_rcpt *r = m->rcpts; r; r = r->next) {
		if (r->reason.n > 0 && !str_eq(r->reason, said))
			printf("%*s(%.*s)\n", r->reason.n < 76 ? (int)(76 - r->reason.n) : 0, "", STR_ARG(r->reason));
		said = r->reason;
		printf("%41s%.*s\n", "", STR_ARG(r->address));
	}
}

/* --- JSON --- */

static void print_json(struct lister *l, const struct queue_message *m)
{
	putchar('{');
	json_field(stdout, "queue_name", m->queue, true);
	json_field(stdout, "queue_id", m->id, false);
	json_number(stdout, "arrival_time", (long long)m->arrived, false);
	json_number(stdout, "message_size", (long long)m->size, false);
	json_bool(stdout, "forced_expire", m->expired, false);
	json_field(stdout, "sender", m->sender, false);
	printf(", \"recipients\": [");
	for (const struct queue_rcpt *r = m->rcpts; r; r = r->next) {
		fputs(r == m->rcpts ? "{" : ", {", stdout);
		json_field(stdout, "address", r->address, true);
		if (r->reason.n > 0)
			json_field(stdout, "delay_reason", r->reason, false);
		putchar('}');
	}
	printf("]}\n");
}

int queue_list(const struct conf *c, const struct queue_filter *f, bool json)
{
	struct lister l = { .a = arena_new(0), .filter = f, .print = json ? print_json : print_classic };
	const int r = queue_ask(c, "list", NULL, 0, on_line, &l, NULL);

	close_message(&l);
	if (r == 0 && !json && l.messages == 0)
		printf("Mail queue is empty\n");
	else if (r == 0 && !json)
		printf("\n-- %llu Kbytes in %llu Request%s.\n", (unsigned long long)(l.bytes / 1024), (unsigned long long)l.messages, l.messages == 1 ? "" : "s");
	arena_free(&l.a);
	return r;
}

/* --- ids --- */

static void keep_id(struct lister *l, const struct queue_message *m)
{
	if (l->messages == l->cap) {
		const size_t cap = l->cap * 2;
		struct str *v = ARENA_ARRAY(l->a, struct str, cap);
		memcpy(v, l->ids, l->cap * sizeof(*v));
		l->ids = v;
		l->cap = cap;
	}
	l->ids[l->messages] = m->id;
}

int queue_select(const struct conf *c, const struct queue_filter *f, struct arena *a, struct str **ids_out, size_t *n_out)
{
	struct lister l = { .a = a, .filter = f, .print = keep_id, .cap = 64 };

	l.ids = ARENA_ARRAY(a, struct str, l.cap);
	const int r = queue_ask(c, "list", NULL, 0, on_line, &l, NULL);
	close_message(&l);
	*ids_out = l.ids;
	*n_out = (size_t)l.messages;
	return r;
}
