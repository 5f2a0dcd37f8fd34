/* A connection before its first transaction: greeting, EHLO or HELO, STARTTLS and what the handshake has to prove, AUTH (RFC 5321, 3207, 4954). A refusal here is
 * one of this server, never of a recipient: another may be in a better mood.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "deliver/remote/remote_smtp_priv.h"
#include "log/log.h"
#include "os/os.h"

static void say_hello(struct smtp *s, const char *verb, enum step st)
{
	smtp_enter(s, st);
	conn_printf(s->c, "%s %s\r\n", verb, s->r->conf->smtp_helo_name);
}

/* A refusal before the transaction: greeting, EHLO, STARTTLS. Another host may be in a better mood; at the end it is temporary. */
static void refused_early(struct smtp *s, const struct reply *r)
{
	char text[700];

	(void)snprintf(text, sizeof text, "host %s refused to talk to me: %s", s->name, r->text);
	smtp_give_up(s, "4.4.2", text, true);
}

void smtp_tls_note(struct smtp *s, const char *result)
{
	uint8_t addr[16];
	uint16_t port;
	char own[64] = "";

	if (s->c == NULL || sock_own_addr(conn_fd(s->c), addr, own, &port) < 0)
		own[0] = '\0';
	job_tls_note(s->j, result, &s->target, own);
}

static void start_auth(struct smtp *s, struct str challenge)
{
	struct buf line;
	char text[500];

	buf_init(&line, 8192);
	if (auth_line(s->mech, s->j->login, s->auth_step++, challenge, &line) == 0) {
		smtp_enter(s, STEP_AUTH);
		conn_write(s->c, buf_view(&line));
		conn_write(s->c, STR("\r\n"));
		buf_wipe(&line);
	} else {
		(void)snprintf(text, sizeof text, "SASL authentication failed; server %s asks what was not understood", s->name);
		smtp_give_up(s, "4.7.0", text, true);
	}
	buf_fini(&line);
}

static void authenticate_or_begin(struct smtp *s)
{
	char text[500];

	if (s->auth_done || s->j->login.n == 0 || !(s->features & FEAT_AUTH)) {
		smtp_begin(s);
		return;
	}
	s->mech = auth_choose(s->r->conf, s->mechs, conn_secure(s->c));
	s->auth_step = 0;
	if (s->mech == AUTH_NONE) {
		(void)snprintf(text, sizeof text, "SASL authentication failed; cannot authenticate to server %s: no mechanism available", s->name);
		smtp_give_up(s, "4.7.0", text, true);
		return;
	}
	start_auth(s, STR(""));
}

void smtp_on_auth(struct smtp *s, const struct reply *r)
{
	char text[800];

	if (r->code == 334) {
		const struct str challenge = str_c(r->text);
		start_auth(s, challenge.n > 4 ? str_from(challenge, 4) : STR(""));
	} else if (r->code == 235) {
		s->auth_done = true;
		smtp_begin(s);
	} else {
		(void)snprintf(text, sizeof text, "SASL authentication failed; server %s said: %s", s->name, r->text);
		smtp_give_up(s, "4.7.8", text, true);
	}
}

static void start_or_tls(struct smtp *s)
{
	const enum tls_level level = s->j->effective;
	const bool wants = level != TLS_NONE && !s->j->no_tls && !conn_secure(s->c);
	char text[500];

	if (wants && (s->features & FEAT_STARTTLS) && !s->secure_tried) {
		s->secure_tried = true;
		smtp_say(s, STEP_STARTTLS, "STARTTLS");
	} else if (level >= TLS_ENCRYPT && !conn_secure(s->c)) {
		(void)snprintf(text, sizeof text, s->secure_tried ? "TLS is required, but host %s refused to start TLS" : "TLS is required, but was not offered by host %s",
			       s->name);
		smtp_tls_note(s, "starttls-not-supported");
		smtp_give_up(s, "4.7.4", text, true);
	} else {
		if (wants)
			smtp_tls_note(s, "starttls-not-supported");
		authenticate_or_begin(s);
	}
}

void smtp_on_greeting(struct smtp *s, const struct reply *r)
{
	if (r->code != 220)
		refused_early(s, r);
	else
		say_hello(s, s->lmtp ? "LHLO" : "EHLO", STEP_EHLO);
}

void smtp_on_ehlo(struct smtp *s, const struct reply *r)
{
	s->esmtp = r->code < 300;
	if (s->esmtp)
		start_or_tls(s);
	else if (r->code >= 500 && !s->lmtp)
		say_hello(s, "HELO", STEP_HELO);
	else
		refused_early(s, r);
}

void smtp_on_helo(struct smtp *s, const struct reply *r)
{
	if (r->code >= 300)
		refused_early(s, r);
	else
		start_or_tls(s);
}

/* Its end has come: a handshake would fail, and mail leave in the clear where it may. A worker with nothing to do ends soon; the next one has a new channel. */
static bool key_lost(const struct remote *r)
{
	struct pollfd p = { .fd = r->key_fd, .events = POLLIN };

	return r->key_fd >= 0 && poll(&p, 1, 0) > 0;
}

void smtp_on_starttls(struct smtp *s, const struct reply *r)
{
	struct str names[8];
	char text[500];

	if (r->code != 220) {
		start_or_tls(s);
		return;
	}
	/* Text behind the answer would be read as if it had come through TLS (CVE-2021-38371). */
	if (conn_input(s->c).n > 0) {
		(void)snprintf(text, sizeof text, "host %s sent text behind its answer to STARTTLS", s->name);
		smtp_give_up(s, "4.7.0", text, false);
		return;
	}
	if (key_lost(s->r)) {
		smtp_give_up(s, "4.3.0", "the key worker, which signs for smtp_tls_cert_file, was restarted", false);
		return;
	}
	smtp_enter(s, STEP_TLS);
	/* Nothing that was said before TLS counts (RFC 3207 4.2). */
	s->features = s->mechs = 0;
	s->size_max = 0;
	struct tls_peer p = { .sni = s->target.host };
	const enum tls_level level = s->j->effective;
	const struct str both[] = { str_c(s->target.host), str_c(s->j->domain) };
	if (level == TLS_VERIFY || level == TLS_SECURE) {
		p.verify = true;
		p.names = names;
		p.n_names = tls_names(s->j, s->target.host, names);
	} else if (level == TLS_STS) {		/* RFC 8461 4.1 */
		p.verify = true;
		p.names = both;
		p.n_names = 1;
	} else if (level == TLS_DANE) {		/* RFC 7672 3.2.2: usage 2 may name the exchanger or the domain */
		p.names = both;
		p.n_names = ARRAY_LEN(both);
		p.tlsa = s->j->tlsa;
		p.n_tlsa = s->j->n_tlsa;
	}
	conn_starttls_client_peer(s->c, s->r->tls, &p);
}

void smtp_secured(struct smtp *s)
{
	const enum tls_level level = s->j->effective;
	const bool proven = level == TLS_VERIFY || level == TLS_SECURE || level == TLS_DANE || level == TLS_FINGERPRINT || level == TLS_STS;
	const char *trust = conn_tls_trust(s->c);
	char text[500];

	if (level == TLS_FINGERPRINT && !tls_fingerprint_ok(&s->j->tls, s->c)) {
		(void)snprintf(text, sizeof text, "Server certificate not verified: no fingerprint of %s matches", s->name);
		smtp_give_up(s, "4.7.5", text, true);
		return;
	}
	if (level == TLS_MAY && tls_obeys_sts(s->j) && strcmp(trust, "Verified") != 0)	/* testing: it is told, and goes on (RFC 8461 5) */
		smtp_tls_note(s, strcmp(trust, "Trusted") == 0 ? "certificate-host-mismatch" : "certificate-not-trusted");
	else
		smtp_tls_note(s, s->j->sts_miss ? "validation-failure" : "success");
	log_info("%s TLS connection established to %s:%u: %s with cipher %s (%d/%d bits)", proven ? "Verified" : trust, s->name, s->port,
		 conn_tls_version(s->c), conn_tls_cipher(s->c), conn_tls_bits(s->c), conn_tls_bits(s->c));
	say_hello(s, s->lmtp ? "LHLO" : "EHLO", STEP_EHLO);
}
