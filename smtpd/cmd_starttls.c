/* STARTTLS (RFC 3207) and implicit TLS (RFC 8314). Nothing from before the handshake survives it: the connection drops what is buffered, the
 * dispatcher refuses a command that does not end its segment, and tls_done() forgets what the client said. */
#include "log/log.h"
#include "smtpd/peers.h"

void tls_start(struct session *s)
{
	bool dropped = false;

	front_select_key(&s->fc);
	s->mode = MODE_TLS;
	conn_deadline(s->c, TLS_MS);
	if (ccert_asked(s))
		conn_starttls_server_asking(s->c, s->env->tls, &dropped);
	else
		conn_starttls_server(s->c, s->env->tls, &dropped);
	if (dropped)
		log_info("improper command pipelining after STARTTLS from %s", s->host);
}

static void begin(struct session *s)
{
	if (!s->fc.implicit_tls) {
		session_reply_str(s, 220, "2.0.0", STR("Ready to start TLS"));
		conn_write(s->c, buf_view(&s->out));
		buf_reset(&s->out);
	}
	tls_start(s);
	conn_pause(s->c, false);
}

static void counted(struct session *s, const struct ipc_queue_REPLY *r)
{
	if (r->code == 250)
		begin(s);
	else if (s->fc.implicit_tls)
		session_drop(s);	/* a line in the clear means nothing there */
	else
		session_reply_str(s, (int)r->code, "4.7.0", r->text);
}

void tls_counted(struct session *s)
{
	if (s->conf->smtpd_client_new_tls_session_rate_limit == 0) {
		begin(s);
		return;
	}
	conn_pause(s->c, true);		/* what comes now is the handshake's */
	peers_event(s, STR("tls"), counted);
}

void cmd_starttls(struct session *s, struct str args)
{
	if (args.n > 0) {
		session_reply(s, 501, "5.5.4", "Syntax: STARTTLS (no parameters allowed)");
	} else if (s->state & ST_TRANS) {
		session_reply(s, 503, "5.5.1", "Error: MAIL transaction in progress");
	} else if (session_secure(s)) {
		session_reply(s, 503, "5.5.1", "Error: TLS already active");
	} else if (s->user[0] != '\0') {
		session_reply(s, 503, "5.5.1", "Error: already authenticated");
	} else if (s->env->tls == NULL || s->profile->local || s->discard & 1u << EXT_STARTTLS) {
		session_reply(s, 502, "5.5.1", "Error: command not implemented");
	} else {
		tls_counted(s);
	}
}

void tls_done(struct session *s)
{
	const char *name = conn_tls_name(s->c);

	log_info("%s TLS connection established from %s%s%s: %s with cipher %s (%d/%d bits)", conn_tls_trust(s->c), s->host, *name ? " to " : "", name,
		 conn_tls_version(s->c), conn_tls_cipher(s->c), conn_tls_bits(s->c), conn_tls_bits(s->c));
	if (ccert_asked(s))
		ccert_seen(s);
	trans_reset(s, true);
	buf_reset(&s->helo);
	s->esmtp = false;
	s->user[0] = '\0';
	session_set_state(s, ST_START);
	s->mode = MODE_COMMAND;
	s->answered = true;
	if (s->fc.implicit_tls)
		session_greet(s);
	session_run(s);
}
