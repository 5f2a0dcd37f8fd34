/* XCLIENT and XFORWARD, for the hosts of smtpd_authorized_xclient_hosts and smtpd_authorized_xforward_hosts: Postfix's extensions of these names. XCLIENT makes
 * the rest of the session that of another client, XFORWARD tells for logs and filters where a message came from. Announced and admitted by the address
 * that the connection was accepted from, and by that of the client for whom it speaks by then: a proxy hands on what its clients send. queued checks the same
 * again before it believes anything. */
#include <stdio.h>
#include <string.h>

#include "log/log.h"
#include "smtp/xclient.h"
#include "smtpd/peers.h"

bool ext_xclient(const struct session *s, struct buf *out)
{
	if (!s->may_xclient)
		return false;
	smtp_xattrs_names(XATTRS_XCLIENT, out);
	return true;
}

bool ext_xforward(const struct session *s, struct buf *out)
{
	if (!s->may_xforward)
		return false;
	smtp_xattrs_names(XATTRS_XFORWARD, out);
	return true;
}

static void not_authorized(struct session *s)
{
	session_log_reject(s, commands[s->cmd].verb, 550, "5.7.0", STR("Error: insufficient authorization"), (struct str){ 0 });
	session_reply(s, 550, "5.7.0", "Error: insufficient authorization");
}

static bool parse(struct session *s, struct str args, unsigned allowed, struct smtp_xattrs *x)
{
	struct err e = { 0 };

	if (smtp_xattrs_parse(s->unit, args, allowed, x, &e) == 0)
		return true;
	session_reply(s, 501, "5.5.4", "Error: %s", e.text);
	return false;
}

/* --- XCLIENT --- */

static void adopt(struct session *s)
{
	const struct smtp_xattrs *x = s->xclient;

	s->xclient = NULL;
	if (x->v[XATTR_ADDR].p != NULL)
		session_client(s, x->v[XATTR_NAME], x->v[XATTR_ADDR].n > 0 ? x->v[XATTR_ADDR] : STR("unknown"));
	else if (x->v[XATTR_NAME].p != NULL)
		session_client(s, x->v[XATTR_NAME], str_c(s->fc.client));
	if (x->v[XATTR_PORT].n > 0) {
		const char *port = arena_cstr(s->unit, x->v[XATTR_PORT]);
		unsigned v = 0;
		for (; port && *port; port++)
			v = v * 10 + (unsigned)(*port - '0');
		s->fc.client_port = (uint16_t)v;
	}
	(void)snprintf(s->user, sizeof s->user, "%.*s", STR_ARG(x->v[XATTR_LOGIN]));
	(void)snprintf(s->mech, sizeof s->mech, "%s", s->user[0] ? "XCLIENT" : "");
	struct buf helo;
	buf_init(&helo, 1024);
	buf_str(&helo, x->v[XATTR_HELO]);
	const bool esmtp = str_case_eq(x->v[XATTR_PROTO], STR("ESMTP"));
	trans_reset(s, false);
	hello_discard(s);
	session_set_state(s, ST_START);
	buf_reset(&s->helo);
	buf_str(&s->helo, buf_view(&helo));
	buf_fini(&helo);
	s->esmtp = esmtp;
}

static void xclient_answered(struct session *s, const struct ipc_queue_REPLY *r)
{
	if (r->code != 220) {
		session_abort(s, "4.3.0", "Error: XCLIENT failed");
		return;
	}
	adopt(s);
	s->count[CMD_XCLIENT].ok++;
	s->commands_ok++;
	s->mode = MODE_COMMAND;
	session_greet(s);
}

void cmd_xclient(struct session *s, struct str args)
{
	if (!session_offers(s, EXT_XCLIENT)) {
		not_authorized(s);
		return;
	}
	if (s->state & ST_TRANS) {
		session_reply(s, 503, "5.5.1", "Error: MAIL transaction in progress");
		return;
	}
	trans_reset(s, false);
	front_last(s->env);	/* it speaks for others */
	s->xclient = ARENA_NEW(s->unit, struct smtp_xattrs);
	if (parse(s, args, XATTRS_XCLIENT, s->xclient))
		peers_xclient(s, s->xclient, xclient_answered);
}

/* --- XFORWARD --- */

enum { FORWARD_BYTES_MAX = 8192 };

static void xforward_answered(struct session *s, const struct ipc_queue_REPLY *r)
{
	session_reply(s, (int)r->code, r->code < 300 ? "2.0.0" : "4.3.0", r->code < 300 ? "Ok" : "Error: try again later");
}

void xforward_forget(struct session *s)
{
	arena_free(&s->forward_arena);
	s->forward = NULL;
}

void cmd_xforward(struct session *s, struct str args)
{
	if (!session_offers(s, EXT_XFORWARD)) {
		not_authorized(s);
		return;
	}
	if (s->state & ST_TRANS) {
		session_reply(s, 503, "5.5.1", "Error: MAIL transaction in progress");
		return;
	}
	/* The first one makes all the others unknown; a message's end forgets them. */
	if (s->forward == NULL) {
		s->forward_arena = arena_new(FORWARD_BYTES_MAX);
		s->forward = ARENA_NEW(s->forward_arena, struct smtp_xattrs);
	}
	struct err e = { 0 };
	if (smtp_xattrs_parse(s->forward_arena, args, XATTRS_XFORWARD, s->forward, &e) < 0) {
		session_reply(s, 501, "5.5.4", "Error: %s", e.text);
		return;
	}
	peers_xforward(s, s->forward, xforward_answered);
}
