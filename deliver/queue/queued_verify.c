/* Address verification (reject_unverified_recipient, _sender): is there somebody at this address? resolve knows our own; of others the next server is asked, by a
 * transaction that ends after RCPT. What came of it is kept, in memory and in a file of the spool, for as long as the address_verify_* parameters say; it is
 * asked for again before that time is over, so that nobody waits for what was known. An answer that does not come in time leaves the sender to try again. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/enc.h"
#include "base/num.h"
#include "deliver/queue/queued.h"
#include "ipc/remote.h"
#include "log/log.h"
#include "os/os.h"

enum {
	ENTRIES_MAX = 50000,
	PROBES_MAX = 100,	/* questions to other servers at once */
	GAP_S = 60,		/* between two questions about one address */
	WAITERS_MAX = 10000,
	EVICT_AT_ONCE = 64,	/* a full table is walked once for so many new ones */
	TEXT_MAX = 200,
	FILE_MAX = 64 << 20,
	TICK_MS = 600000,
};

#define VERIFY_FILE "verified"
#define VERIFY_MARK "postern-verified 1"

enum state { UNKNOWN, GOOD, BAD };

struct entry {
	struct queued *q;
	char *address;
	enum state state;
	int64_t when;			/* of state */
	uint64_t asked_ms;		/* last question; 0: never */
	bool probing;
	char text[TEXT_MAX + 1];	/* why BAD */
	struct list waiting;
};

struct verify_wait {
	struct list node;
	struct verify *v;
	struct timer *timer;
	struct entry *x;
	verify_fn *fn;
	void *ctx;
};

struct verify {
	struct map *entries, *probes;	/* address; id of a SEND */
	struct timer *tick;
	size_t n_waiting;
	int dir, empty;			/* empty: a file that SENDs carry */
	bool dirty;
};

/* --- entries --- */

static bool usable(const struct entry *x)
{
	const struct conf *c = x->q->conf;
	const int64_t age = clock_wall() - x->when;

	return x->state == GOOD ? age < (int64_t)c->address_verify_positive_expire_time
	     : x->state == BAD	? c->address_verify_negative_cache && age < (int64_t)c->address_verify_negative_expire_time
				: false;
}

static bool stale(const struct entry *x)
{
	const struct conf *c = x->q->conf;
	const int64_t age = clock_wall() - x->when;

	return age >= (int64_t)(x->state == GOOD ? c->address_verify_positive_refresh_time : c->address_verify_negative_refresh_time);
}

static void entry_free(struct entry *x)
{
	(void)map_del(x->q->verify->entries, str_c(x->address));
	free(x->address);
	free(x);
}

struct candidate {
	struct entry *x;
	int64_t since;	/* what it knows; 0: nothing of use */
};

/* v is in order of age, the oldest first; of those too many the youngest goes. */
static void keep_oldest(struct candidate *v, size_t *n, struct candidate c)
{
	size_t at = *n < EVICT_AT_ONCE ? (*n)++ : EVICT_AT_ONCE - 1;

	for (; at > 0 && v[at - 1].since > c.since; at--)
		v[at] = v[at - 1];
	v[at] = c;
}

/* Room for new ones, so that nobody can fill the table for days: first goes what is of no use, then the oldest; never what is asked about or waited for. */
static void evict(struct verify *v)
{
	struct candidate gone[EVICT_AT_ONCE];
	struct str key;
	size_t n = 0, it = 0;
	void *p;

	while (map_next(v->entries, &it, &key, &p)) {
		struct entry *x = p;
		const struct candidate c = { x, usable(x) ? x->when : 0 };
		if (x->probing || !list_empty(&x->waiting))
			continue;
		if (n < EVICT_AT_ONCE || c.since < gone[n - 1].since)
			keep_oldest(gone, &n, c);
	}
	for (size_t i = 0; i < n; i++)
		entry_free(gone[i].x);
}

static struct entry *entry_of(struct queued *q, struct str address)
{
	struct verify *v = q->verify;
	struct entry *x = map_get(v->entries, address);

	if (x != NULL)
		return x;
	if (map_count(v->entries) >= ENTRIES_MAX)
		evict(v);
	if (map_count(v->entries) >= ENTRIES_MAX)
		return NULL;
	x = xzalloc(sizeof(*x));
	x->q = q;
	x->address = xstrndup(address.p, address.n);
	list_init(&x->waiting);
	(void)map_set(v->entries, address, x);
	return x;
}

/* --- who waits --- */

void verify_forget(struct verify_wait **wp)
{
	struct verify_wait *w = *wp;

	*wp = NULL;
	if (w == NULL)
		return;
	list_del(&w->node);
	timer_del(&w->timer);
	w->v->n_waiting--;
	free(w);
}

static void answer(struct verify_wait *w)
{
	const struct entry *x = w->x;
	const struct verify_answer a = { .known = x != NULL && usable(x), .good = x != NULL && x->state == GOOD, .text = x != NULL ? str_c(x->text) : STR("") };
	verify_fn *fn = w->fn;
	void *ctx = w->ctx;

	verify_forget(&w);
	fn(ctx, &a);
}

static void on_patience(void *ctx)
{
	answer(ctx);
}

/* --- asking --- */

/* good: GOOD, BAD, or UNKNOWN when it is not known now. */
static void learnt(struct entry *x, enum state s, struct str text)
{
	struct verify *v = x->q->verify;
	struct buf b;

	if (s != UNKNOWN) {
		x->state = s;
		x->when = clock_wall();
		v->dirty = true;
		buf_init(&b, 1024);
		if (s == BAD)
			text_neutral(&b, text, TEXT_MAX, true);
		(void)snprintf(x->text, sizeof(x->text), "%.*s", STR_ARG(buf_view(&b)));
		buf_fini(&b);
	}
	log_as(log_ident("verify"), LOG_LV_INFO, "%s: %s%s%.*s", x->address, s == GOOD ? "deliverable" : s == BAD ? "undeliverable" : "not known now", text.n ? ": " : "",
	       STR_ARG(str_sub(text, 0, TEXT_MAX)));
	while (!list_empty(&x->waiting))
		answer(list_of(x->waiting.next, struct verify_wait, node));
	x->probing = false;	/* not before: who is answered may ask for another address, which needs room */
}

bool verify_result(struct queued *q, uint32_t id, const struct ipc_remote_RESULT *m)
{
	struct entry *x = map_del(q->verify->probes, str_n(&id, sizeof(id)));

	if (x == NULL)
		return false;
	const struct str text = m != NULL && m->texts.n > 0 ? m->texts.v[0] : STR("");
	if (m == NULL || m->status.n != 1)
		learnt(x, UNKNOWN, text);
	else
		learnt(x, str_eq(m->status.v[0], STR("sent")) ? GOOD : str_eq(m->status.v[0], STR("bounced")) ? BAD : UNKNOWN, text);
	return true;
}

void verify_fail_all(struct queued *q)
{
	struct str key;
	uint32_t id;
	size_t it = 0;
	void *v;

	while (map_next(q->verify->probes, &it, &key, &v)) {
		memcpy(&id, key.p, sizeof(id));
		(void)verify_result(q, id, NULL);
		it = 0;
	}
}

/* Who asks: address_verify_sender, which may be empty or "<>". */
static struct str sender_of(const struct conf *c, char out[400])
{
	const struct str s = str_c(c->address_verify_sender);

	if (s.n == 0 || str_eq(s, STR("<>")))
		return STR("");
	if (str_chr(s, '@') >= 0)
		return s;
	(void)snprintf(out, 400, "%.*s@%s", STR_ARG(s), c->myorigin);
	return str_c(out);
}

static void ask_server(struct entry *x, struct str transport, struct str nexthop, struct str login, struct str policy)
{
	struct queued *q = x->q;
	struct str to = str_c(x->address);
	char sender[400];
	const struct ipc_remote_SEND m = {
		.qid = STR("VERIFY"), .transport = str_case_eq(transport, STR("lmtp")) ? STR("lmtp") : STR("smtp"), .nexthop = nexthop, .sender = sender_of(q->conf, sender),
		.recipients = { &to, 1 }, .login = login, .policy = policy, .probe = 1,
	};
	struct err e = { 0 };

	if (q->remote == NULL || map_count(q->verify->probes) >= PROBES_MAX) {
		learnt(x, UNKNOWN, STR("too many verifications at once"));
		return;
	}
	const uint32_t id = ipc_next_id(q->remote);
	if (ipc_send(q->remote, IPC_remote_SEND, &m, id, q->verify->empty, &e) < 0) {
		learnt(x, UNKNOWN, str_c(e.text));
		return;
	}
	(void)map_set(q->verify->probes, str_n(&id, sizeof(id)), x);
}

static void go(struct entry *x, struct str transport, struct str nexthop, struct str login, struct str policy)
{
	if (str_case_eq(transport, STR("error")))
		learnt(x, BAD, nexthop);
	else if (str_case_eq(transport, STR("retry")))
		learnt(x, UNKNOWN, nexthop);
	else if (str_case_eq(transport, STR("discard")))
		learnt(x, GOOD, STR(""));
	else
		ask_server(x, transport, nexthop, login, policy);
}

static void on_route(void *ctx, const struct ipc_resolve_ROUTES *r)
{
	if (r == NULL)
		learnt(ctx, UNKNOWN, STR("Temporary lookup failure"));
	else
		go(ctx, r->transports.v[0], r->nexthops.v[0], r->logins.v[0], r->policies.v[0]);
}

/* One that is here is enough; of those elsewhere the first is asked about. */
static void on_resolved(void *ctx, const struct ipc_resolve_RESULT *r)
{
	struct entry *x = ctx;
	size_t remote = SIZE_MAX;

	if (r == NULL || str_eq(r->class, STR("error"))) {
		learnt(x, UNKNOWN, r ? r->text : STR("Temporary lookup failure"));
		return;
	}
	if (r->kinds.n == 0) {
		learnt(x, BAD, r->text);
		return;
	}
	for (size_t i = 0; i < r->kinds.n; i++)
		if (str_eq(r->kinds.v[i], STR("remote")))
			remote = remote == SIZE_MAX ? i : remote;
		else if (!str_eq(r->kinds.v[i], STR("error"))) {
			learnt(x, GOOD, STR(""));
			return;
		}
	if (remote == SIZE_MAX) {
		learnt(x, BAD, STR("mail for it is returned"));
	} else if (r->users.v[remote].n > 0) {
		struct str hop = r->users.v[remote];
		const struct str transport = str_split(&hop, ':');
		go(x, transport, hop, STR(""), STR(""));
	} else {
		(void)route_ask(x->q, STR(""), (struct ipc_strs){ &r->addresses.v[remote], 1 }, on_route, x);
	}
}

static void probe(struct entry *x)
{
	const uint64_t now = clock_mono_ms();

	if (x->probing || (x->asked_ms > 0 && now - x->asked_ms < GAP_S * 1000))
		return;
	x->probing = true;
	x->asked_ms = now;
	(void)resolve_ask(x->q, str_c(x->address), on_resolved, x);
}

struct verify_wait *verify_ask(struct queued *q, struct str address, verify_fn *fn, void *ctx)
{
	struct verify *v = q->verify;
	struct entry *x = v->n_waiting < WAITERS_MAX ? entry_of(q, address) : NULL;
	struct verify_wait *w = xzalloc(sizeof(*w));
	const bool known = x != NULL && usable(x);

	*w = (struct verify_wait){ .v = v, .x = x, .fn = fn, .ctx = ctx };
	list_init(&w->node);
	v->n_waiting++;
	if (x != NULL && (!known || stale(x)))
		probe(x);
	if (x != NULL)
		list_append(&x->waiting, &w->node);	/* even if the answer is known: x must stay until it is given */
	const bool wait = !known && x != NULL && x->probing;
	w->timer = loop_timer(q->loop, wait ? q->conf->address_verify_poll_count * q->conf->address_verify_poll_delay * 1000 : 0, on_patience, w);
	return w;
}

/* --- the file --- */

/* "good|bad TIME ADDRESS TEXT" */
static void load_line(struct queued *q, struct str line)
{
	struct str rest = line;
	const struct str word = str_split(&rest, ' '), when = str_split(&rest, ' '), address = str_split(&rest, ' ');
	uint64_t seconds;
	struct entry *x;

	if (num_parse(when, 0, INT64_MAX / 2, &seconds) < 0 || address.n == 0 || !str_printable(line) || (x = entry_of(q, address)) == NULL)
		return;
	x->state = str_eq(word, STR("good")) ? GOOD : BAD;
	x->when = (int64_t)seconds;
	(void)snprintf(x->text, sizeof(x->text), "%.*s", STR_ARG(rest));
	if (!usable(x))
		entry_free(x);
}

static void load(struct queued *q)
{
	struct err e = { 0 };
	struct buf b;

	buf_init(&b, FILE_MAX);
	if (file_read_at(q->verify->dir, VERIFY_FILE, FILE_MAX - 1, &b, &e) == 0) {
		struct str rest = buf_view(&b);
		if (str_eq(str_split(&rest, '\n'), STR(VERIFY_MARK)))
			while (rest.n > 0)
				load_line(q, str_split(&rest, '\n'));
	}
	buf_fini(&b);
}

void verify_save(struct queued *q)
{
	struct verify *v = q->verify;
	struct err e = { 0 };
	struct buf b;
	struct str key;
	size_t it = 0;
	void *p;

	if (v == NULL || !v->dirty)
		return;
	buf_init(&b, FILE_MAX);
	buf_c(&b, VERIFY_MARK "\n");
	while (map_next(v->entries, &it, &key, &p)) {
		const struct entry *x = p;
		if (usable(x) && str_chr(key, ' ') < 0)
			buf_printf(&b, "%s %lld %.*s %s\n", x->state == GOOD ? "good" : "bad", (long long)x->when, STR_ARG(key), x->text);
	}
	if (buf_check(&b, VERIFY_FILE, &e) < 0 || file_replace_at(v->dir, VERIFY_FILE, buf_view(&b), 0600, &e) < 0)
		log_error("%s", e.text);
	else
		v->dirty = false;
	buf_fini(&b);
}

static void on_tick(void *ctx)
{
	struct queued *q = ctx;

	timer_again(q->verify->tick, TICK_MS);
	verify_save(q);
}

int verify_start(struct queued *q, struct err *e)
{
	struct verify *v = xzalloc(sizeof(*v));

	v->entries = map_new();
	v->probes = map_new();
	v->dir = open(SPOOL_STATE, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	v->empty = v->dir < 0 ? -1 : openat(v->dir, "empty", O_RDONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0400);
	if (v->empty < 0)
		return err_set(e, ERR_TEMP, errno, "spool directory %s", SPOOL_STATE);
	v->tick = loop_timer(q->loop, TICK_MS, on_tick, q);
	q->verify = v;
	load(q);
	return 0;
}
