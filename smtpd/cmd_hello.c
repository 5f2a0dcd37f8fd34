/* EHLO and HELO, and what is announced (extensions.def). RFC 5321 4.1.1.1; RFC 1870; RFC 4954 3. */
#include <stdio.h>

#include "smtp/addr.h"
#include "smtp/reply.h"
#include "smtpd/session.h"

static const struct {
	const char *keyword;
	ext_fn *offer;
} extensions[] = {
#define EXT(keyword, offer, source) { keyword, offer },
#include "extensions.def"
#undef EXT
};

bool ext_always(const struct session *s, struct buf *out)
{
	return true;
}

bool ext_size(const struct session *s, struct buf *out)
{
	buf_ch(out, ' ');
	buf_u64(out, s->conf->message_size_limit);
	return true;
}

bool ext_starttls(const struct session *s, struct buf *out)
{
	return s->env->tls != NULL && !session_secure(s) && !s->profile->local && s->user[0] == '\0';
}

static void mechanisms(const struct session *s, struct buf *out)
{
	for (size_t i = 0; i < s->conf->auth_mechanisms.n; i++) {
		if (i > 0)
			buf_ch(out, ' ');
		buf_c(out, s->conf->auth_mechanisms.v[i]);
	}
}

bool ext_auth(const struct session *s, struct buf *out)
{
	if (!session_may_offer_auth(s) || (!session_secure(s) && s->conf->smtpd_tls_auth_only) || s->user[0] != '\0')
		return false;
	buf_ch(out, ' ');
	mechanisms(s, out);
	return true;
}

bool ext_auth_broken(const struct session *s, struct buf *out)
{
	struct buf unused;

	buf_init(&unused, 1024);
	const bool offered = s->conf->broken_sasl_auth_clients && ext_auth(s, &unused);
	buf_fini(&unused);
	if (offered)
		mechanisms(s, out);
	return offered;
}

/* The name, as it goes into logs and Received: printable, at most 255 bytes (smtp_helo_valid). */
static bool take_name(struct session *s, struct str args, const char *verb)
{
	if (args.n == 0) {
		session_reply(s, 501, "5.5.4", "Syntax: %s hostname", verb);
		return false;
	}
	if (!smtp_helo_valid(args) || !str_printable(args)) {
		static const char what[] = "Helo command rejected: Invalid name";
		trans_reset(s, true);
		session_log_reject(s, verb, 501, "5.5.2", str_c(what), (struct str){ 0 });
		session_reply(s, 501, "5.5.2", "<%.*s>: %s", args.n > 300 ? 300 : (int)args.n, args.p, what);
		return false;
	}
	trans_reset(s, true);
	buf_reset(&s->helo);
	buf_str(&s->helo, args);
	session_set_state(s, ST_IDLE);
	return true;
}

void cmd_helo(struct session *s, struct str args)
{
	if (!take_name(s, args, "HELO"))
		return;
	s->esmtp = false;
	session_reply_str(s, 250, NULL, str_c(s->conf->myhostname));
}

void cmd_ehlo(struct session *s, struct str args)
{
	struct buf text;

	if (!take_name(s, args, "EHLO"))
		return;
	s->esmtp = true;
	buf_init(&text, 4096);
	buf_c(&text, s->conf->myhostname);
	for (size_t i = 0; i < ARRAY_LEN(extensions); i++) {
		const size_t before = text.n;
		buf_ch(&text, '\n');
		buf_c(&text, extensions[i].keyword);
		if (!extensions[i].offer(s, &text))
			buf_cut(&text, before);
	}
	session_reply_str(s, 250, NULL, buf_view(&text));
	buf_fini(&text);
}
