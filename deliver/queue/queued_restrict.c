/* Where the restrictions' facts come from: names from dns, tables and addresses from resolve, policy services from policy. restrict_evaluate() asks; what is not known is sent
 * for, and when an answer has come the evaluation is begun again, until it ends. Facts are kept for the transaction, so that nothing is asked twice. */
#include <stdio.h>
#include <stdlib.h>

#include "deliver/queue/queued.h"
#include "dns/client.h"
#include "log/log.h"

enum { JUDGE_FACTS_MAX = 50000, JUDGE_BYTES_MAX = 64 << 20 };

/* One fact, known or asked for. Of its questions at most one is under way. */
struct known {
	struct known *next;
	struct judge *j;
	struct fact f;
	struct dns_ask *dns;
	struct ask *ask;
	struct timer *timer;
	struct verify_wait *verify;
};

struct judge {
	struct queued *q;
	const struct restrict_set *set;
	struct arena *arena;		/* facts */
	struct arena *scratch;		/* of one evaluation */
	struct map *facts;
	struct known *all;
	size_t n;
	enum restrict_stage stage;
	struct restrict_facts about;
	judged_fn *fn;			/* NULL: nothing is being judged */
	void *ctx;
	struct restrict_answer answer;
	struct timer *again;
};

/* --- asking --- */

static void evaluate(struct judge *j);

static void on_again(void *ctx)
{
	struct judge *j = ctx;

	timer_del(&j->again);
	if (j->fn)
		evaluate(j);
}

/* Not at once: several answers may be in the same round. */
static void known_now(struct known *k, enum fact_state state)
{
	struct judge *j = k->j;

	k->f.state = state;
	if (j->again == NULL)
		j->again = loop_timer(j->q->loop, 0, on_again, j);
}

static void keep_values(struct known *k, const struct str *v, size_t n)
{
	struct str *copy = ARENA_ARRAY(k->j->arena, struct str, n + 1);

	for (size_t i = 0; copy && i < n; i++)
		copy[i] = arena_str(k->j->arena, v[i]);
	k->f.v = copy;
	k->f.n = copy ? n : 0;
}

static enum fact_state dns_state(struct known *k, const struct dns_answer *a)
{
	static const enum fact_state states[] = { [DNS_HAS] = FACT_HAS, [DNS_HAS_NONE] = FACT_NONE, [DNS_NO_SUCH] = FACT_NO_NAME, [DNS_TROUBLE] = FACT_TROUBLE };

	keep_values(k, a->v, a->n);
	k->f.why = arena_str(k->j->arena, a->why);
	return states[a->result];
}

static void on_dns(void *ctx, const struct dns_answer *a)
{
	struct known *k = ctx;

	k->dns = NULL;
	known_now(k, dns_state(k, a));
}

/* Who comes again is looked up again, by name and in each list: that answer may still hold. */
static void dns_find(struct known *k, const struct fact_key *key)
{
	struct dns_client *dns = k->j->q->dns;
	struct dns_answer a;

	if (dns_known(dns, key->key, key->arg, &a))
		k->f.state = dns_state(k, &a);
	else
		k->dns = dns_ask(dns, key->key, key->arg, on_dns, k);
}

static void on_value(void *ctx, const struct ipc_resolve_VALUE *v)
{
	struct known *k = ctx;

	k->ask = NULL;
	if (v == NULL || v->found > 1) {
		k->f.why = v ? arena_str(k->j->arena, v->value) : STR("no answer from resolve");
		known_now(k, FACT_TROUBLE);
		return;
	}
	keep_values(k, &v->value, v->found ? 1 : 0);
	known_now(k, v->found ? FACT_HAS : FACT_NONE);
}

/* The class, then the accounts. */
static void on_class(void *ctx, const struct ipc_resolve_RESULT *r)
{
	struct known *k = ctx;

	k->ask = NULL;
	if (r == NULL || str_eq(r->class, STR("error"))) {
		k->f.why = STR("address could not be looked up");
		known_now(k, FACT_TROUBLE);
		return;
	}
	struct str *v = ARENA_ARRAY(k->j->arena, struct str, r->users.n + 2);
	k->f.v = v;
	v[k->f.n++] = arena_str(k->j->arena, r->class);
	for (size_t i = 0; i < r->users.n; i++)
		if (str_eq(r->kinds.v[i], STR("mailbox")))
			v[k->f.n++] = arena_str(k->j->arena, r->users.v[i]);
	known_now(k, FACT_HAS);
}

/* A service with a default action of its own has answered even when it has not. */
static void on_action(void *ctx, const struct ipc_policy_ACTION *m)
{
	struct known *k = ctx;

	k->ask = NULL;
	if (m == NULL || m->trouble.p) {
		k->f.why = m ? arena_str(k->j->arena, m->trouble) : STR("no answer from policy");
		if (m == NULL || m->fallback.n == 0) {
			known_now(k, FACT_TROUBLE);
			return;
		}
		log_warning("policy service: %.*s", STR_ARG(m->trouble));
	}
	keep_values(k, m->trouble.p ? &m->fallback : &m->action, 1);
	known_now(k, FACT_HAS);
}

static void on_slept(void *ctx)
{
	struct known *k = ctx;

	timer_del(&k->timer);
	known_now(k, FACT_NONE);
}

/* "good", or "bad" and why. */
static void on_verified(void *ctx, const struct verify_answer *a)
{
	const struct str v[] = { a->good ? STR("good") : STR("bad"), a->text };
	struct known *k = ctx;

	k->verify = NULL;
	keep_values(k, v, ARRAY_LEN(v));
	known_now(k, a->known ? FACT_HAS : FACT_TROUBLE);
}

static void send_for(struct known *k, const struct fact_key *key)
{
	struct queued *q = k->j->q;
	const struct ipc_resolve_LOOKUP m = { .table = key->subject, .key = key->key, .how = key->arg };

	switch (key->kind) {
	case FACT_DNS: dns_find(k, key); break;
	case FACT_MAP: k->ask = lookup_ask(q, &m, on_value, k); break;
	case FACT_CLASS: k->ask = resolve_ask(q, key->key, on_class, k); break;
	case FACT_VERIFY: k->verify = verify_ask(q, key->key, on_verified, k); break;
	case FACT_SLEEP: k->timer = loop_timer(q->loop, (uint64_t)key->arg * 1000, on_slept, k); break;
	case FACT_POLICY: {
		const struct ipc_policy_ASK p = { .service = key->subject, .request = key->key };
		k->ask = policy_ask(q, &p, on_action, k);
		break;
	}
	}
}

static const struct fact *get(void *ctx, const struct fact_key *key)
{
	struct judge *j = ctx;
	const char *text = arena_printf(j->scratch, "%d %u %.*s\n", (int)key->kind, key->arg, STR_ARG(key->subject));
	struct buf b;

	buf_init(&b, 65536);
	buf_c(&b, text);
	buf_str(&b, key->key);
	const bool failed = buf_failed(&b);
	struct known *k = failed ? NULL : map_get(j->facts, buf_view(&b));
	if (k == NULL && !failed && j->n < JUDGE_FACTS_MAX && arena_used(j->arena) < JUDGE_BYTES_MAX) {
		j->n++;
		k = ARENA_NEW(j->arena, struct known);
		k->j = j;
		k->next = j->all;
		j->all = k;
		(void)map_set(j->facts, buf_view(&b), k);
		send_for(k, key);
	}
	buf_fini(&b);
	return k ? &k->f : NULL;
}

/* --- judging --- */

static void evaluate(struct judge *j)
{
	const struct fact_source src = { get, j };
	judged_fn *fn = j->fn;

	arena_reset(j->scratch);
	restrict_evaluate(j->set, j->stage, &j->about, &src, j->scratch, &j->answer);
	if (j->answer.result == RESTRICT_WAIT)
		return;
	j->fn = NULL;
	fn(j->ctx, &j->answer);
}

struct judge *judge_new(struct queued *q, const struct restrict_set *set)
{
	struct judge *j = xzalloc(sizeof(*j));

	j->q = q;
	j->set = set;
	j->arena = arena_new(0);
	j->scratch = arena_new(0);
	j->facts = map_new();
	return j;
}

void *judge_alloc(struct judge *j, size_t n)
{
	return arena_alloc(j->arena, n);
}

void judge_free(struct judge **jp)
{
	struct judge *j = *jp;

	*jp = NULL;
	if (j == NULL)
		return;
	for (struct known *k = j->all; k; k = k->next) {
		dns_forget(&k->dns);
		ask_forget(&k->ask);
		verify_forget(&k->verify);
		timer_del(&k->timer);
	}
	timer_del(&j->again);
	map_free(&j->facts);
	arena_free(&j->arena);
	arena_free(&j->scratch);
	free(j);
}

static void keep(struct judge *j, struct str *s)
{
	*s = arena_str(j->arena, *s);
}

void judge_ask(struct judge *j, enum restrict_stage stage, const struct restrict_facts *f, judged_fn *fn, void *ctx)
{
	struct str *const strings[] = {
		&j->about.client, &j->about.helo, &j->about.sender, &j->about.recipient, &j->about.login, &j->about.method, &j->about.etrn, &j->about.server,
		&j->about.qid, &j->about.instance, &j->about.tls, &j->about.class,
	};

	j->stage = stage;
	j->about = *f;
	for (size_t i = 0; i < ARRAY_LEN(strings); i++)
		keep(j, strings[i]);
	j->fn = fn;
	j->ctx = ctx;
	evaluate(j);
}
