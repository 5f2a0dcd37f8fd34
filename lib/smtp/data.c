/* The DATA reader and the dot encoder: see data.h for the rules. Lines are found with memchr, so that the pass over a message runs at memory
 * speed; only what is cut at the edge of a read goes through the byte states. */
#include "smtp/data.h"

#include "base/enc.h"

enum state {
	ST_BOL,		/* at the start of a line that a CR LF (or DATA itself) began */
	ST_DOT,		/* after a dot at the start of a line; not yet given out */
	ST_DOT_CR,	/* after dot CR there */
	ST_MID,		/* inside a line */
	ST_CR,		/* after a CR inside a line; not yet given out */
	ST_END,
};

void smtp_data_init(struct smtp_data *d, const struct smtp_data_limits *limits, smtp_data_sink *sink, void *ctx, char *room, size_t room_max)
{
	memset(d, 0, offsetof(struct smtp_data, field));
	d->state = ST_BOL;
	d->in_header = true;
	d->limits = *limits;
	d->sink = sink;
	d->ctx = ctx;
	d->room = room;
	d->room_max = room_max;
	d->field_n = 0;
}

/* The first fault counts, but one of line ends goes before one of size: it closes the connection. */
static void fault(struct smtp_data *d, enum smtp_data_fault f)
{
	if (d->fault == SMTP_DATA_FINE || (f <= SMTP_DATA_NUL && d->fault > SMTP_DATA_NUL))
		d->fault = f;
	d->in_header = false;
	d->room_n = 0;
}

static void flush(struct smtp_data *d)
{
	if (d->fault == SMTP_DATA_FINE && d->room_n > 0 && d->sink(d->ctx, d->room, d->room_n) < 0)
		fault(d, SMTP_DATA_SINK);
	d->room_n = 0;
}

static void emit(struct smtp_data *d, struct str s)
{
	while (s.n > 0 && d->fault == SMTP_DATA_FINE) {
		const size_t n = s.n < d->room_max - d->room_n ? s.n : d->room_max - d->room_n;
		memcpy(d->room + d->room_n, s.p, n);
		d->room_n += n;
		if (d->room_n == d->room_max)
			flush(d);
		s = str_from(s, n);
	}
}

/* The identifier, when it is one that may go into logs and other headers as it is. */
static void take_message_id(struct smtp_data *d, struct str value)
{
	value = str_trim(value);
	if (d->message_id[0] != '\0' || value.n == 0 || value.n > SMTP_MESSAGE_ID_MAX || !str_printable(value))
		return;
	memcpy(d->message_id, value.p, value.n);
	d->message_id[value.n] = '\0';
}

static void header_line(struct smtp_data *d)
{
	struct str rest = str_n(d->field, d->field_n);

	if (rest.n == 0) {
		d->in_header = false;
		return;
	}
	if (ch_blank(rest.p[0])) {
		if (d->lines == 0)
			d->in_header = false;
		else if (d->header_id)
			take_message_id(d, rest);
		return;
	}
	d->header_id = false;
	struct str name = str_split(&rest, ':');
	while (name.n > 0 && ch_blank(name.p[name.n - 1]))
		name.n--;
	bool plain = rest.p != NULL && name.n > 0;
	for (size_t i = 0; i < name.n && plain; i++)
		plain = name.p[i] > ' ' && name.p[i] <= '~';
	if (!plain) {
		/* A mailbox's "From " line may come first; any other line that is no field ends the header. */
		d->in_header = d->lines == 0 && str_starts(name, STR("From "));
		return;
	}
	if (str_case_eq(name, STR("Received"))) {
		d->received++;
	} else if (str_case_eq(name, STR("Date"))) {
		d->has_date = true;
	} else if (str_case_eq(name, STR("From"))) {
		d->has_from = true;
	} else if (str_case_eq(name, STR("Message-ID"))) {
		d->header_id = true;
		take_message_id(d, rest);
	}
}

/* The held start of a header line is complete or long enough to be judged. A line that is no field begins the body: the empty line that should be
 * before it is put there, so that fields added to the header later do not swallow the body's first lines. */
static void decide(struct smtp_data *d)
{
	const struct str held = str_n(d->field, d->field_n);

	header_line(d);
	d->decided = true;
	if (!d->in_header && held.n > 0) {
		d->size++;
		d->wire += 2;
		d->lines++;
		emit(d, STR("\n"));
	}
	emit(d, held);
}

/* Keep a header line's start back until it is judged. Returns what is to be emitted behind it. */
static struct str hold(struct smtp_data *d, struct str s)
{
	const size_t n = s.n < sizeof d->field - d->field_n ? s.n : sizeof d->field - d->field_n;

	memcpy(d->field + d->field_n, s.p, n);
	d->field_n += n;
	if (n < s.n)
		decide(d);
	return str_from(s, n);
}

/* Content of a line, without its end; may come in pieces. */
static void content(struct smtp_data *d, struct str s)
{
	if (s.n == 0)
		return;
	const char *cr = memchr(s.p, '\r', s.n), *nul = memchr(s.p, '\0', s.n);
	if (cr != NULL || nul != NULL)
		fault(d, nul == NULL || (cr != NULL && cr < nul) ? SMTP_DATA_BARE_CR : SMTP_DATA_NUL);
	if (d->fault != SMTP_DATA_FINE)
		return;
	d->size += s.n;
	d->wire += s.n;
	d->line_n += s.n;
	if (d->line_n > SMTP_DATA_LINE_MAX) {
		fault(d, SMTP_DATA_LONG_LINE);
		return;
	}
	if (d->limits.size_max > 0 && d->wire > d->limits.size_max) {
		fault(d, SMTP_DATA_TOO_BIG);
		return;
	}
	if (d->in_header && d->wire > d->limits.header_max) {
		fault(d, SMTP_DATA_LONG_HEADER);
		return;
	}
	if (d->in_header && !d->decided)
		s = hold(d, s);
	emit(d, s);
}

static void line_end(struct smtp_data *d)
{
	d->state = ST_BOL;
	if (d->fault != SMTP_DATA_FINE)
		return;
	if (d->in_header && !d->decided)
		decide(d);
	d->decided = false;
	d->field_n = 0;
	d->line_n = 0;
	d->lines++;
	d->size++;
	d->wire += 2;
	if (d->limits.size_max > 0 && d->wire > d->limits.size_max)
		fault(d, SMTP_DATA_TOO_BIG);
	else if (d->in_header && d->wire > d->limits.header_max)
		fault(d, SMTP_DATA_LONG_HEADER);
	else
		emit(d, STR("\n"));
}

/* Inside a line: up to and including its line feed, or all. Bytes taken. */
static size_t take_line(struct smtp_data *d, struct str in)
{
	const char *lf = memchr(in.p, '\n', in.n);

	if (lf == NULL) {
		const bool cr = in.p[in.n - 1] == '\r';
		content(d, str_sub(in, 0, in.n - cr));
		if (cr)
			d->state = ST_CR;
		return in.n;
	}
	const size_t n = (size_t)(lf - in.p);
	if (n == 0 || in.p[n - 1] != '\r') {
		content(d, str_sub(in, 0, n));
		fault(d, SMTP_DATA_BARE_LF);
		return n + 1;
	}
	content(d, str_sub(in, 0, n - 1));
	line_end(d);
	return n + 1;
}

/* One step. Bytes taken (0 when only the state changed). */
static size_t step(struct smtp_data *d, struct str in)
{
	switch ((enum state)d->state) {
	case ST_BOL:
		if (d->chunked) {
			d->state = ST_MID;
			return 0;
		}
		d->state = in.p[0] == '.' ? ST_DOT : ST_MID;
		return in.p[0] == '.';
	case ST_DOT:
		d->state = in.p[0] == '\r' ? ST_DOT_CR : ST_MID;
		return in.p[0] == '\r';
	case ST_DOT_CR:
		d->state = in.p[0] == '\n' ? ST_END : ST_MID;
		if (in.p[0] == '\n')
			return 1;
		fault(d, SMTP_DATA_BARE_CR);
		return 0;
	case ST_CR:
		if (in.p[0] == '\n') {
			line_end(d);
			return 1;
		}
		fault(d, SMTP_DATA_BARE_CR);
		d->state = ST_MID;
		return 0;
	case ST_MID:
		return take_line(d, in);
	case ST_END:
		break;
	}
	return 0;
}

int smtp_data_feed(struct smtp_data *d, struct str in, size_t *used_out)
{
	size_t used = 0;

	while (used < in.n && d->state != ST_END)
		used += step(d, str_from(in, used));
	*used_out = used;
	if (d->state != ST_END)
		return 1;
	flush(d);
	return 0;
}

void smtp_data_chunk(struct smtp_data *d, struct str in)
{
	size_t used = 0;

	d->chunked = true;
	while (used < in.n)
		used += step(d, str_from(in, used));
}

void smtp_data_chunk_end(struct smtp_data *d)
{
	if (d->state == ST_CR)
		fault(d, SMTP_DATA_BARE_CR);
	if (d->line_n > 0)
		line_end(d);
	d->state = ST_END;
	flush(d);
}

void smtp_dot_encode(struct smtp_dot *s, struct str in, struct buf *out)
{
	while (in.n > 0) {
		size_t n = 0;

		if (s->cr) {
			s->cr = false;
			if (in.p[0] != '\n') {
				buf_ch(out, ' ');
				s->at_bol = false;
			}
		}
		if (s->at_bol && in.p[0] == '.')
			buf_ch(out, '.');
		const char *lf = memchr(in.p, '\n', in.n);
		n = lf != NULL ? (size_t)(lf - in.p) : in.n;
		const char *cr = memchr(in.p, '\r', n);
		if (cr != NULL) {
			n = (size_t)(cr - in.p);
			buf_mem(out, in.p, n);
			s->at_bol = s->at_bol && n == 0;
			s->cr = true;
			in = str_from(in, n + 1);
			continue;
		}
		buf_mem(out, in.p, n);
		if (lf != NULL)
			buf_mem(out, "\r\n", 2);
		s->at_bol = lf != NULL || (s->at_bol && n == 0);
		in = str_from(in, n + (lf != NULL));
	}
}

void smtp_dot_end(struct smtp_dot *s, struct buf *out)
{
	if (!s->at_bol || s->cr)
		buf_c(out, "\r\n");
	buf_c(out, ".\r\n");
	s->at_bol = true;
	s->cr = false;
}
