/* Who a connection's client is, when its peer speaks for another: PROXY header, XCLIENT, XFORWARD. A front only reports what was said; whether the peer may
 * say it is decided here, by the address that the parent registered and the lists of the configuration. What is not allowed closes the channel (the front has
 * checked the same lists: it would not have sent it). XFORWARD changes no right, only what logs and filters see.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deliver/queue/queued.h"
#include "log/log.h"

/* --- the client's address, and what follows from it --- */

bool client_set(struct conn_entry *c, struct str address)
{
	if (address.n >= sizeof(c->client))
		return false;
	memset(c->client, 0, sizeof(c->client));
	c->named = false;
	c->name[0] = c->reverse[0] = '\0';
	if (address.n > 0)
		memcpy(c->client, address.p, address.n);
	c->addr_known = addr_parse(address, c->addr) == 0;
	c->mynetworks = c->addr_known && networks_have(&c->rules->mynetworks, c->addr);
	return true;
}

bool client_register(struct conn_entry *c, struct str address)
{
	if (!client_set(c, address))
		return false;
	c->peer_known = c->addr_known;
	memcpy(c->peer, c->addr, sizeof(c->peer));
	if (c->conf->smtpd_upstream_proxy_protocol[0] && c->peer_known && conf_networks_have(c->conf->smtpd_upstream_proxy_hosts, c->peer)) {
		/* Until it has said for whom it speaks, and when it speaks for itself, it is nobody: a front that keeps silent gains nothing. */
		c->proxied_due = true;
		c->mynetworks = false;
	}
	return true;
}

bool client_proxied(struct conn_entry *c, const struct ipc_queue_PROXIED *m)
{
	uint8_t addr[16];

	if (!c->proxied_due || addr_parse(m->client, addr) < 0) {
		log_warning("%s may not send a PROXY header: channel closed", c->client);
		return false;
	}
	c->proxied_due = false;
	return client_set(c, m->client);
}

/* --- certificates --- */

static void copy(char *to, size_t size, struct str s)
{
	snprintf(to, size, "%.*s", STR_ARG(s));
}

bool client_cert(struct conn_entry *c, const struct ipc_queue_CCERT *m)
{
	if (c->proxied_due || c->cert != NULL || (!c->conf->smtpd_tls_ask_ccert && !c->conf->smtpd_tls_req_ccert)) {
		log_warning("%s: a client certificate that was not asked for: channel closed", c->client);
		return false;
	}
	c->cert = xzalloc(sizeof(*c->cert));
	copy(c->cert->cert, sizeof(c->cert->cert), m->cert);
	copy(c->cert->key, sizeof(c->cert->key), m->key);
	copy(c->cert->subject, sizeof(c->cert->subject), m->subject);
	copy(c->cert->issuer, sizeof(c->cert->issuer), m->issuer);
	c->cert->trusted = m->trusted == 1;
	return true;
}

void client_forget_cert(struct conn_entry *c)
{
	free(c->cert);
	c->cert = NULL;
}

/* --- XCLIENT --- */

static void set_login(struct conn_entry *c, struct str login)
{
	copy(c->user, sizeof(c->user), login);
	copy(c->rights, sizeof(c->rights), login.n > 0 ? STR("submit") : STR(""));
	c->has_user = login.n > 0;
}

/* By the peer, and by the client for whom it speaks by now: what a proxy hands on after XCLIENT or a PROXY header are that client's words. */
static bool speaks_for_others(const struct conn_entry *c, struct conf_list hosts)
{
	return c->peer_known && c->addr_known && conf_networks_have(hosts, c->peer) && conf_networks_have(hosts, c->addr);
}

bool client_xclient(struct conn_entry *c, uint32_t id, const struct ipc_queue_XCLIENT *m)
{
	if (!speaks_for_others(c, c->conf->smtpd_authorized_xclient_hosts)) {
		log_warning("%s may not send XCLIENT: channel closed", c->client);
		return false;
	}
	trans_drop(&c->trans);
	set_login(c, m->login);		/* another client: no right of the one before */
	client_forget_cert(c);
	if (m->addr.p != NULL && !client_set(c, m->addr.n > 0 ? m->addr : STR("unknown")))
		return false;
	if (m->name.p != NULL) {
		copy(c->name, sizeof(c->name), m->name.n > 0 ? m->name : STR("unknown"));
		copy(c->reverse, sizeof(c->reverse), str_c(c->name));
		c->named = true;
	}
	conn_reply(c, id, 220, "2.0.0", STR("Ok"), (struct str){ 0 });
	return true;
}

/* --- XFORWARD --- */

bool client_xforward(struct conn_entry *c, uint32_t id, const struct ipc_queue_XFORWARD *m)
{
	if (!speaks_for_others(c, c->conf->smtpd_authorized_xforward_hosts)) {
		log_warning("%s may not send XFORWARD: channel closed", c->client);
		return false;
	}
	if (c->forwarded == NULL)
		c->forwarded = xzalloc(sizeof(*c->forwarded));
	copy(c->forwarded->name, sizeof(c->forwarded->name), m->name);
	copy(c->forwarded->addr, sizeof(c->forwarded->addr), m->addr);
	copy(c->forwarded->helo, sizeof(c->forwarded->helo), m->helo);
	copy(c->forwarded->ident, sizeof(c->forwarded->ident), m->ident);
	conn_reply(c, id, 250, "2.0.0", STR("Ok"), (struct str){ 0 });
	return true;
}

void client_forget_forwarded(struct conn_entry *c)
{
	free(c->forwarded);
	c->forwarded = NULL;
}

/* --- as the log has them --- */

void client_log_text(const struct conn_entry *c, struct buf *out)
{
	const struct forwarded *f = c->forwarded;

	buf_c(out, "client=");
	buf_c(out, c->name[0] ? c->name : "unknown");
	buf_ch(out, '[');
	buf_c(out, c->client);
	buf_ch(out, ']');
	if (f != NULL && f->ident[0])
		buf_printf(out, ", orig_queue_id=%s", f->ident);
	if (f != NULL && (f->name[0] || f->addr[0]))
		buf_printf(out, ", orig_client=%s[%s]", f->name[0] ? f->name : "unknown", f->addr[0] ? f->addr : "unknown");
}
