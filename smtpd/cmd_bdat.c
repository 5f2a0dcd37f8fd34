/* BDAT (RFC 3030): a message in chunks of a known length. A chunk's bytes are taken whatever the answer is, so that none of them is ever read as a command;
 * a count that cannot be read ends the connection. Content goes through the reader of DATA (lib/smtp), without dots: a bare CR, a bare LF or a NUL
 * refuses the message here too. After a refused chunk the transaction is gone and further chunks are refused (RFC 3030 4.2). BINARYMIME is not
 * offered. */
#include "base/num.h"
#include "smtpd/peers.h"

enum { COUNT_MAX_DIGITS = 18 };

/* "count [LAST]" */
static int parse(struct str args, uint64_t *n_out, bool *last_out)
{
	struct str count, word = { 0 }, more;

	if (!str_token(&args, " \t", &count) || count.n > COUNT_MAX_DIGITS || num_parse(count, 0, UINT64_MAX, n_out) < 0)
		return -1;
	*last_out = str_token(&args, " \t", &word);
	if (*last_out && (!str_case_eq(word, STR("LAST")) || str_token(&args, " \t", &more)))
		return -1;
	return 0;
}

/* The chunk is dropped; its answer may leave before its last byte has come. */
static void skip(struct session *s, int code, const char *enhanced, const char *text)
{
	s->bdat.skip = true;
	s->mode = s->bdat.left > 0 ? MODE_BDAT : MODE_COMMAND;
	if (s->mode == MODE_BDAT)
		data_clock(s);
	session_reply(s, code, enhanced, "%s", text);
}

static void refused(struct session *s, const struct ipc_queue_REPLY *r)
{
	s->bdat.skip = true;
	data_refused(s, r);
	/* The answer may have come with a delay: the chunk is taken after it. */
	enum session_mode *const mode = s->mode == MODE_SLEEP ? &s->mode_after : &s->mode;
	if (s->bdat.left == 0)
		return;
	*mode = MODE_BDAT;
	if (s->mode == MODE_BDAT)
		data_clock(s);
}

static void too_big(struct session *s)
{
	static const char text[] = "Error: message file too big";

	session_log_reject(s, "BDAT", 552, "5.3.4", str_c(text), (struct str){ 0 });
	trans_reset(s, true);
	skip(s, 552, "5.3.4", text);
}

void cmd_bdat(struct session *s, struct str args)
{
	const struct refusal *no;

	s->bdat.skip = false;
	if (parse(args, &s->bdat.left, &s->bdat.last) < 0) {
		session_reply(s, 501, "5.5.4", "Syntax: BDAT count [LAST]");
		s->finish_after = true;		/* where the next command begins is not known */
		return;
	}
	if (!session_offers(s, EXT_CHUNKING))
		skip(s, 502, "5.5.1", "Error: command not implemented");
	else if ((no = session_demands(s)) != NULL)
		skip(s, no->code, no->enhanced, no->text);
	else if (s->state == ST_MAIL)
		skip(s, 554, "5.5.1", "Error: no valid recipients");
	else if (!(s->state & (ST_RCPT | ST_BDAT)))
		skip(s, 503, "5.5.1", "Error: need RCPT command");
	else if (s->conf->message_size_limit > 0 && s->bdat.left > s->conf->message_size_limit - (s->state == ST_BDAT ? s->data->wire : 0))
		too_big(s);
	else if (s->state == ST_RCPT)
		data_ask(s, refused);
	else
		bdat_chunk(s);
}

static void chunk_done(struct session *s)
{
	const uint64_t n = s->bdat.size;

	if (s->bdat.skip) {
		data_pause(s);
	} else if (s->bdat.last || s->data->fault != SMTP_DATA_FINE) {
		smtp_data_chunk_end(s->data);
		data_ended(s);
	} else {
		data_pause(s);
		session_set_state(s, ST_BDAT);
		/* Empty chunks are idle talk. */
		if (n == 0 && ++s->junk > s->conf->smtpd_junk_command_limit)
			session_reply(s, 421, "4.7.0", "%s Error: too many errors", s->conf->myhostname);
		else
			session_reply(s, 250, "2.0.0", "Ok: %llu bytes", (unsigned long long)n);
	}
}

void bdat_chunk(struct session *s)
{
	s->mode = MODE_BDAT;
	s->bdat.size = s->bdat.left;
	data_clock(s);
	if (s->bdat.left == 0)
		chunk_done(s);
}

void bdat_input(struct session *s)
{
	const struct str in = conn_input(s->c), part = str_sub(in, 0, s->bdat.left < in.n ? (size_t)s->bdat.left : in.n);

	s->data_bytes += part.n;
	s->bdat.left -= part.n;
	if (!s->bdat.skip)
		smtp_data_chunk(s->data, part);
	conn_consume(s->c, part.n);
	if (s->bdat.left == 0)
		chunk_done(s);
}
