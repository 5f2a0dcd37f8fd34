/* EHLO and HELO, and what is announced (extensions.def). RFC 5321 4.1.1.1; RFC 1870; RFC 4954 3. */
#include <stdio.h>

#include "log/log.h"
#include "smtp/addr.h"
#include "smtp/reply.h"
#include "smtpd/session.h"
#include "smtpd/tables.h"

static const struct {
	const char *keyword;
	ext_fn *offer;
} extensions[EXT_MAX_] = {
#define EXT(id, keyword, offer, source) [EXT_##id] = { keyword, offer },
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

bool ext_vrfy(const struct session *s, struct buf *out)
{
	return !s->conf->disable_vrfy_command;
}

/* RFC 9422 4: of the limits that a client could use, the one that it would otherwise learn from refusals. */
bool ext_limits(const struct session *s, struct buf *out)
{
	buf_printf(out, " RCPTMAX=%llu", (unsigned long long)s->conf->smtpd_recipient_limit);
	return true;
}

static bool offers(const struct session *s, enum ext_id id, struct buf *argument)
{
	return !(s->discard & 1u << id) && extensions[id].offer(s, argument);
}

bool session_offers(const struct session *s, enum ext_id id)
{
	struct buf unused;

	buf_init(&unused, 1024);
	const bool offered = offers(s, id, &unused);
	buf_fini(&unused);
	return offered;
}

static void discard_word(struct session *s, struct str word, struct buf *said)
{
	for (size_t id = 0; id < EXT_MAX_; id++) {
		if (!str_case_eq(word, str_c(extensions[id].keyword)))
			continue;
		s->discard |= 1u << id | (id == EXT_AUTH ? 1u << EXT_AUTH_OLD : 0);
		buf_printf(said, " %s", extensions[id].keyword);
	}
}

void hello_discard(struct session *s)
{
	struct buf said, words;
	struct str rest, word;
	bool silent = false;

	s->discard = 0;
	buf_init(&said, 1024);
	buf_init(&words, 4096);
	if (!tables_discard(s->env, str_c(s->fc.client), &words))
		for (size_t i = 0; i < s->conf->smtpd_discard_ehlo_keywords.n; i++)
			buf_printf(&words, " %s", s->conf->smtpd_discard_ehlo_keywords.v[i]);
	for (rest = buf_view(&words); str_token(&rest, " \t,", &word);) {
		silent |= str_case_eq(word, STR("silent-discard"));
		discard_word(s, word, &said);
	}
	if (said.n > 0 && !silent)
		log_info("discarding EHLO keywords:%s", said.p);
	buf_fini(&words);
	buf_fini(&said);
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

	if (!take_name(s, args, commands[s->cmd].verb))
		return;
	s->esmtp = true;
	buf_init(&text, 4096);
	buf_c(&text, s->conf->myhostname);
	for (size_t i = 0; i < ARRAY_LEN(extensions); i++) {
		const size_t before = text.n;
		buf_ch(&text, '\n');
		buf_c(&text, extensions[i].keyword);
		if (!offers(s, (enum ext_id)i, &text))
			buf_cut(&text, before);
	}
	session_reply_str(s, 250, NULL, buf_view(&text));
	buf_fini(&text);
}
