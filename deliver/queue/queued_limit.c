/* Limits of one client (an IPv4 address, an IPv6 /64) over all its connections: messages, recipients and TLS sessions in anvil_rate_time_unit, and who has
 * waited through the greeting's pause. Counted here because all connections of smtpd come together here; connections themselves are counted by the parent,
 * which refuses them before anything is forked; logins by authd. Behind a proxy the client is who the proxy says.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/ip.h"
#include "base/rate.h"
#include "deliver/queue/queued.h"
#include "log/log.h"

enum { RATE_CLIENTS_MAX = 65536, PASSED_MAX = 65536 };

static const struct kind {
	enum rate_kind kind;
	uint64_t code;
	const char *enhanced, *what, *log;
} kinds[] = {
	{ RATE_MAIL, 450, "4.7.1", "too much mail", "Message delivery request rate" },
	{ RATE_RCPT, 450, "4.7.1", "too many recipients", "Recipient address rate" },
	{ RATE_TLS, 421, "4.7.0", "too many new TLS sessions", "New TLS session rate" },
};

static uint64_t limit_of(const struct conf *c, enum rate_kind kind)
{
	switch (kind) {
	case RATE_MAIL:
		return c->smtpd_client_message_rate_limit;
	case RATE_RCPT:
		return c->smtpd_client_recipient_rate_limit;
	case RATE_TLS:
		return c->smtpd_client_new_tls_session_rate_limit;
	default:
		return 0;
	}
}

bool limit_refuses(struct conn_entry *c, enum rate_kind kind, uint32_t id)
{
	const uint64_t max = limit_of(c->conf, kind);
	uint8_t key[16];
	char text[200];

	if (max == 0 || !c->addr_known || c->local || conf_networks_have(c->conf->smtpd_client_event_limit_exceptions, c->addr))
		return false;
	if (c->q->rates == NULL)
		c->q->rates = rate_new(RATE_CLIENTS_MAX);
	ip_customer(c->addr, key);
	const uint64_t n = rate_hit(c->q->rates, str_n(key, sizeof(key)), kind, clock_mono_ms(), c->conf->anvil_rate_time_unit * 1000);
	if (n <= max)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		const struct kind *k = &kinds[i];
		if (k->kind != kind)
			continue;
		log_as(log_ident("smtpd"), LOG_LV_WARNING, "%s limit exceeded: %llu from %s[%s] for service %s", k->log, (unsigned long long)n,
		       c->name[0] ? c->name : "unknown", c->client, c->profile);
		snprintf(text, sizeof(text), "Error: %s from %s", k->what, c->client);
		conn_reply(c, id, k->code, k->enhanced, str_c(text), (struct str){ 0 });
	}
	return true;
}

/* --- the greeting's pause --- */

static struct str passed_key(const struct conn_entry *c)
{
	return str_n(c->addr, sizeof(c->addr));
}

static bool has_passed(const struct conn_entry *c)
{
	const uint64_t *until = c->q->passed ? map_get(c->q->passed, passed_key(c)) : NULL;

	return until != NULL && *until > clock_mono_ms();
}

static void forget_all(struct queued *q)
{
	size_t it = 0;
	struct str key;
	void *v;

	while (map_next(q->passed, &it, &key, &v))
		free(v);
	map_free(&q->passed);
}

static void remember(struct conn_entry *c)
{
	struct queued *q = c->q;

	/* Full: everybody waits once more. */
	if (q->passed != NULL && map_count(q->passed) >= PASSED_MAX)
		forget_all(q);
	if (q->passed == NULL)
		q->passed = map_new();
	uint64_t *until = map_get(q->passed, passed_key(c));
	if (until == NULL) {
		until = xzalloc(sizeof(*until));
		(void)map_set(q->passed, passed_key(c), until);
	}
	*until = clock_mono_ms() + c->conf->postscreen_greet_ttl * 1000;
}

void limit_event(struct conn_entry *c, uint32_t id, const struct ipc_queue_EVENT *m)
{
	if (str_eq(m->what, STR("tls"))) {
		if (!limit_refuses(c, RATE_TLS, id))
			conn_reply(c, id, 250, "2.0.0", STR("Ok"), (struct str){ 0 });
	} else if (str_eq(m->what, STR("greet"))) {
		const bool exempt = !c->addr_known || c->mynetworks || has_passed(c);
		conn_reply(c, id, exempt ? 250 : 251, "2.0.0", exempt ? STR("known") : STR("new"), (struct str){ 0 });
	} else {
		if (str_eq(m->what, STR("greeted")) && c->addr_known)
			remember(c);
		conn_reply(c, id, 250, "2.0.0", STR("Ok"), (struct str){ 0 });
	}
}
