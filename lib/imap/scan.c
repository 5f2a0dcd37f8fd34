/* The command scanner. Owns: finding line ends, quoted strings and literal announcements (RFC 3501 sections 2.2, 4.3 and 9: literal;
 * RFC 7888: LITERAL+). Leaves to the callers: limits on literals, memory, continuation requests, and all grammar. */
#include "imap/scan.h"

#include <string.h>

enum { ST_LINE, ST_CR, ST_LITERAL, ST_SKIP, ST_ASKED, ST_END };
enum { Q_NONE, Q_IN, Q_ESCAPE };
/* How far into "{digits}" or "{digits+}" the line's last bytes are. */
enum { B_NONE, B_OPEN, B_DIGITS, B_PLUS, B_CLOSED };

void imap_scan_init(struct imap_scan *s, size_t line_max)
{
	*s = (struct imap_scan){ .line_max = line_max };
}

static void flaw(struct imap_scan *s, enum imap_scan_error error)
{
	if (s->error == IMAP_SCAN_OK)
		s->error = error;
}

static void brace_open(struct imap_scan *s)
{
	s->brace = B_OPEN;
	s->lit_size = 0;
	s->lit_overflow = false;
	s->lit_nonsync = false;
	s->lit_binary = s->last == '~';
}

static void brace_digit(struct imap_scan *s, char c)
{
	s->brace = B_DIGITS;
	if (s->lit_size > (uint64_t)(INT64_MAX - 9) / 10)
		s->lit_overflow = true;
	else
		s->lit_size = s->lit_size * 10 + (uint64_t)(c - '0');
}

static void brace_byte(struct imap_scan *s, char c)
{
	if (c == '{')
		brace_open(s);
	else if ((s->brace == B_OPEN || s->brace == B_DIGITS) && ch_digit(c))
		brace_digit(s, c);
	else if (s->brace == B_DIGITS && c == '+') {
		s->brace = B_PLUS;
		s->lit_nonsync = true;
	} else if ((s->brace == B_DIGITS || s->brace == B_PLUS) && c == '}')
		s->brace = B_CLOSED;
	else
		s->brace = B_NONE;
}

static void line_byte(struct imap_scan *s, char c)
{
	if (c == '\0')
		flaw(s, IMAP_SCAN_BYTES);
	if (s->quote == Q_ESCAPE)
		s->quote = Q_IN;
	else if (s->quote == Q_IN)
		s->quote = c == '\\' ? Q_ESCAPE : c == '"' ? Q_NONE : Q_IN;
	else if (c == '"')
		s->quote = Q_IN, s->brace = B_NONE;
	else
		brace_byte(s, c);
	s->last = c;
}

static enum imap_scan_result line_end(struct imap_scan *s)
{
	if (s->brace != B_CLOSED || s->quote != Q_NONE) {
		s->state = ST_END;
		return IMAP_SCAN_DONE;
	}
	s->brace = B_NONE;
	s->last = 0;
	s->state = ST_ASKED;
	if (!s->lit_overflow && s->error == IMAP_SCAN_OK)
		return IMAP_SCAN_LITERAL;
	/* Nobody will ask for it: the line was wrong already, or the number is absurd. */
	if (imap_scan_refuse(s)) {
		s->state = ST_END;
		return IMAP_SCAN_DONE;
	}
	return IMAP_SCAN_MORE;
}

/* One byte of a line; DONE and LITERAL after its line end. */
static enum imap_scan_result line_step(struct imap_scan *s, char c)
{
	if (++s->line_bytes > s->line_max)
		flaw(s, IMAP_SCAN_LONG);
	if (s->state == ST_CR) {
		s->state = ST_LINE;
		if (c == '\n')
			return line_end(s);
		flaw(s, IMAP_SCAN_BYTES);
		s->brace = B_NONE;
	}
	if (c == '\r') {
		s->state = ST_CR;
		return IMAP_SCAN_MORE;
	}
	if (c == '\n') {
		/* A bare LF ends the line too, or the next command would be swallowed; but it is an error. */
		flaw(s, IMAP_SCAN_BYTES);
		return line_end(s);
	}
	line_byte(s, c);
	return IMAP_SCAN_MORE;
}

static size_t literal_step(struct imap_scan *s, size_t avail)
{
	const size_t n = avail < s->left ? avail : (size_t)s->left;

	s->left -= n;
	if (s->left == 0)
		s->state = ST_LINE;
	return n;
}

enum imap_scan_result imap_scan(struct imap_scan *s, struct str in, size_t *used_out)
{
	size_t i = 0;

	while (i < in.n && s->state != ST_ASKED && s->state != ST_END) {
		if (s->state == ST_LITERAL || s->state == ST_SKIP) {
			i += literal_step(s, in.n - i);
			continue;
		}
		const enum imap_scan_result r = line_step(s, in.p[i++]);

		if (r != IMAP_SCAN_MORE) {
			*used_out = i;
			return r;
		}
	}
	*used_out = i;
	return IMAP_SCAN_MORE;
}

static void into(struct imap_scan *s, unsigned char state, uint64_t n)
{
	s->left = n;
	s->state = n == 0 ? ST_LINE : state;
}

void imap_scan_accept(struct imap_scan *s)
{
	s->literal_bytes += s->lit_size;
	into(s, ST_LITERAL, s->lit_size);
}

bool imap_scan_refuse(struct imap_scan *s)
{
	flaw(s, IMAP_SCAN_TOOBIG);
	if (!s->lit_nonsync)
		return true;
	if (s->lit_overflow || s->lit_size > IMAP_SCAN_SKIP_MAX) {
		s->error = IMAP_SCAN_FATAL;
		return true;
	}
	into(s, ST_SKIP, s->lit_size);
	return false;
}

void imap_scan_stream(struct imap_scan *s)
{
	into(s, ST_LINE, 0);
}
