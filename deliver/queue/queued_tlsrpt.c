/* Counts of TLS sessions to other servers by day, domain, policy, result and server, in the words of RFC 8460 4.3: what a report of the day says. At most
 * TLSRPT_ROWS_MAX combinations, of today and the day before; written to a file of the spool from time to time and at the end, so that a restart loses little.
 * "postern-queue tls" shows them; queued_tlsreport.c sends them. */
#include <fcntl.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/num.h"
#include "deliver/queue/queued.h"
#include "log/log.h"
#include "os/os.h"
#include "smtp/addr.h"

enum {
	TLSRPT_ROWS_MAX = 20000,
	KEY_MAX = 900,
	FILE_MAX = 32 << 20,
	TICK_MS = 600000,		/* the file is written, and the day's end is seen */
	SPREAD_S = 4 * 3600,		/* reports leave at some time in the first hours of a day: not all senders at midnight (RFC 8460 4.1) */
};

#define TLSRPT_FILE "tls-sessions"
#define TLSRPT_MARK "postern-tls-sessions 1"

struct row {
	struct tlsrpt_row shown;
	char *text;	/* its strings */
};

struct tlsrpt {
	struct map *rows;	/* "DAY DOMAIN POLICY RESULT EXCHANGER ADDRESS OWN" */
	struct timer *tick;
	uint64_t delay_s;	/* after midnight */
	int dir;
	bool dirty;
};

static int64_t today(void)
{
	return clock_wall() / TLSRPT_DAY_S;
}

/* --- rows --- */

/* NULL: the day is no number. */
static struct row *row_new(struct str key)
{
	struct row *r = xzalloc(sizeof(*r));
	struct str *const parts[] = { &r->shown.domain, &r->shown.policy, &r->shown.result, &r->shown.exchanger, &r->shown.address, &r->shown.own };
	struct str rest;
	uint64_t day;

	r->text = xstrndup(key.p, key.n);
	rest = str_c(r->text);
	if (num_parse(str_split(&rest, ' '), 0, INT32_MAX, &day) < 0) {
		free(r->text);
		free(r);
		return NULL;
	}
	r->shown.day = (int64_t)day;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		*parts[i] = str_split(&rest, ' ');
	return r;
}

static void row_free(struct row *r)
{
	free(r->text);
	free(r);
}

static void add(struct tlsrpt *t, struct str key, uint64_t n)
{
	struct row *r = map_get(t->rows, key);

	if (r == NULL) {
		if (map_count(t->rows) >= TLSRPT_ROWS_MAX || (r = row_new(key)) == NULL)
			return;
		(void)map_set(t->rows, key, r);
	}
	r->shown.n += n;
	t->dirty = true;
}

void tlsrpt_count(struct queued *q, struct str domain, struct str note)
{
	char key[KEY_MAX];
	const int n = snprintf(key, sizeof(key), "%lld %.*s %.*s", (long long)today(), STR_ARG(domain), STR_ARG(note));

	/* Without a note no session was begun for this delivery. */
	if (note.n > 0 && n > 0 && (size_t)n < sizeof(key) && str_chr(domain, ' ') < 0 && str_printable(domain))
		add(q->tlsrpt, str_c(key), 1);
}

void tlsrpt_policy_trouble(struct queued *q, struct str domain, struct str result)
{
	char note[64];

	(void)snprintf(note, sizeof(note), "sts %.*s", STR_ARG(result));
	tlsrpt_count(q, domain, str_c(note));
}

const struct tlsrpt_row *tlsrpt_next(const struct queued *q, size_t *it)
{
	struct str key;
	void *v;

	return map_next(q->tlsrpt->rows, it, &key, &v) ? &((struct row *)v)->shown : NULL;
}

/* Rows for which drop is true go. A map must not change while it is walked: some at a time. */
static void drop(struct tlsrpt *t, bool (*which)(const struct tlsrpt_row *x, int64_t day, struct str domain), int64_t day, struct str domain)
{
	struct str keys[64], key;
	size_t n;
	void *v;

	do {
		size_t it = 0;
		n = 0;
		while (n < ARRAY_LEN(keys) && map_next(t->rows, &it, &key, &v))
			if (which(&((struct row *)v)->shown, day, domain))
				keys[n++] = key;
		for (size_t i = 0; i < n; i++)
			row_free(map_del(t->rows, keys[i]));
		t->dirty |= n > 0;
	} while (n == ARRAY_LEN(keys));
}

static bool is_old(const struct tlsrpt_row *x, int64_t day, struct str domain)
{
	return x->day < day;
}

static bool is_of(const struct tlsrpt_row *x, int64_t day, struct str domain)
{
	return x->day == day && str_eq(x->domain, domain);
}

void tlsrpt_forget(struct queued *q, int64_t day, struct str domain)
{
	drop(q->tlsrpt, is_of, day, domain);
}

/* --- the file --- */

static void load_line(struct tlsrpt *t, struct str line)
{
	const ptrdiff_t at = str_rchr(line, ' ');
	uint64_t n;

	if (at > 0 && num_parse(str_from(line, (size_t)at + 1), 1, INT64_MAX, &n) == 0 && str_printable(line))
		add(t, str_sub(line, 0, (size_t)at), n);
}

static void load(struct tlsrpt *t)
{
	struct err e = { 0 };
	struct buf b;

	buf_init(&b, FILE_MAX);
	if (file_read_at(t->dir, TLSRPT_FILE, FILE_MAX - 1, &b, &e) == 0) {
		struct str rest = buf_view(&b);
		if (str_eq(str_split(&rest, '\n'), STR(TLSRPT_MARK)))
			while (rest.n > 0)
				load_line(t, str_split(&rest, '\n'));
	}
	buf_fini(&b);
	t->dirty = false;
}

void tlsrpt_save(struct queued *q)
{
	struct tlsrpt *t = q->tlsrpt;
	struct err e = { 0 };
	struct buf b;
	struct str key;
	size_t it = 0;
	void *v;

	if (t == NULL || !t->dirty)
		return;
	buf_init(&b, FILE_MAX);
	buf_c(&b, TLSRPT_MARK "\n");
	while (map_next(t->rows, &it, &key, &v))
		buf_printf(&b, "%.*s %llu\n", STR_ARG(key), (unsigned long long)((struct row *)v)->shown.n);
	if (buf_check(&b, TLSRPT_FILE, &e) < 0 || file_replace_at(t->dir, TLSRPT_FILE, buf_view(&b), 0600, &e) < 0)
		log_error("%s", e.text);
	else
		t->dirty = false;
	buf_fini(&b);
}

/* --- time --- */

static void on_tick(void *ctx)
{
	struct queued *q = ctx;
	struct tlsrpt *t = q->tlsrpt;
	const int64_t day = today();

	timer_again(t->tick, TICK_MS);
	if (q->conf->smtp_tlsrpt_enable && clock_wall() >= day * TLSRPT_DAY_S + (int64_t)t->delay_s)
		tlsrpt_send(q, day);
	drop(t, is_old, day - 1, STR(""));
	tlsrpt_save(q);
}

void tlsrpt_start(struct queued *q)
{
	struct tlsrpt *t = xzalloc(sizeof(*t));

	t->rows = map_new();
	t->delay_s = random_u64() % SPREAD_S;
	t->dir = open(SPOOL_STATE, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	t->tick = loop_timer(q->loop, TICK_MS, on_tick, q);
	q->tlsrpt = t;
	load(t);
}
