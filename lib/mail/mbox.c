/* A message begins at the start of the file, or behind an empty line, with "From address date". Body lines that look like it were quoted by the writer
 * (mboxo, mboxrd), or Content-Length says how long the body is (mboxcl, mboxcl2). Neither is believed blindly: a line without a date is text, and a
 * length counts only when the file ends there or another From_ line stands there. So a wrong length costs nothing and a line of prose that begins
 * with "From " splits no message unless it also ends in a date. */
#include "mail/mbox.h"

#include <string.h>

#include "base/num.h"
#include "mail/head.h"

enum { FROM_LINE_MAX = 1000, WORDS_MAX = 24 };

/* --- From_ lines --- */

static int month_of(struct str s)
{
	static const char names[] = "janfebmaraprmayjunjulaugsepoctnovdec";

	if (s.n != 3)
		return -1;
	for (int i = 0; i < 12; i++)
		if (str_case_eq(s, str_n(names + (size_t)i * 3, 3)))
			return i + 1;
	return -1;
}

static bool is_weekday(struct str s)
{
	static const char *const names[] = { "mon", "tue", "wed", "thu", "fri", "sat", "sun" };

	if (s.n > 0 && s.p[s.n - 1] == ',')
		s.n--;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_case_eq(s, str_c(names[i])))
			return true;
	return false;
}

/* "hh:mm" or "hh:mm:ss". */
static bool clock_of(struct str s, int64_t *seconds_out)
{
	const struct str h = str_split(&s, ':'), m = str_split(&s, ':');
	uint64_t hv, mv, sv = 0;

	if (num_parse(h, 0, 23, &hv) < 0 || m.p == NULL || num_parse(m, 0, 59, &mv) < 0 || (s.p && num_parse(s, 0, 60, &sv) < 0))
		return false;
	*seconds_out = (int64_t)(hv * 3600 + mv * 60 + sv);
	return true;
}

/* "+0200" to seconds east; names of zones are looked up by the date parser. */
static bool zone_of(struct str s, int64_t *east_out)
{
	uint64_t v;

	if (s.n != 5 || (s.p[0] != '+' && s.p[0] != '-') || num_parse(str_from(s, 1), 0, 9959, &v) < 0)
		return false;
	const int64_t east = (int64_t)(v / 100 * 3600 + v % 100 * 60);
	*east_out = s.p[0] == '-' ? -east : east;
	return true;
}

/* Days since 1970 (proleptic Gregorian). */
static int64_t days(int64_t y, int m, int64_t d)
{
	y -= m <= 2;
	const int64_t era = y / 400, yoe = y - era * 400;
	const int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;

	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

/* Words "Mon Jan _2 15:04:05 [ZONE] 2006 [ZONE]" (asctime and what writers made of it). */
static bool words_date(const struct str *w, size_t n, int64_t *out)
{
	int64_t seconds, east = 0;
	uint64_t day, year;
	const int month = n >= 5 ? month_of(w[1]) : -1;
	size_t at = 4;

	if (month < 0 || !is_weekday(w[0]) || num_parse(w[2], 1, 31, &day) < 0 || !clock_of(w[3], &seconds))
		return false;
	while (at < n && num_parse(w[at], 1900, 9999, &year) < 0) {
		(void)zone_of(w[at], &east);
		if (++at > 6)
			return false;
	}
	if (at >= n)
		return false;
	if (at + 1 < n)
		(void)zone_of(w[at + 1], &east);
	*out = days((int64_t)year, month, (int64_t)day) * 86400 + seconds - east;
	return true;
}

bool mail_mbox_from(struct str line, int64_t *date_out)
{
	struct str w[WORDS_MAX];
	size_t n = 0;
	int64_t date;
	int zone;

	if (!str_starts(line, STR("From ")) || line.n > FROM_LINE_MAX)
		return false;
	struct str rest = str_trim(str_from(line, 5));
	for (struct str s = rest; s.n > 0 && n < WORDS_MAX; s = str_trim(s)) {
		size_t k = 0;
		while (k < s.n && !ch_space(s.p[k]))
			k++;
		w[n++] = str_sub(s, 0, k);
		s = str_from(s, k);
	}
	for (size_t i = 0; i + 5 <= n; i++)	/* the address may hold blanks, or not be there */
		if (is_weekday(w[i]) && words_date(w + i, n - i, &date)) {
			*date_out = date > 0 ? date : 0;
			return true;
		}
	/* RFC 5322's form, as some programs write it. */
	for (size_t i = 0; i < n && i < 2; i++)
		if (is_weekday(w[i]) && mail_date_parse(str_from(rest, (size_t)(w[i].p - rest.p)), &date, &zone) == 0) {
			*date_out = date > 0 ? date : 0;
			return true;
		}
	return false;
}

/* --- lines --- */

/* The line at pos without its end; *next: where the next begins. */
static struct str line_at(struct str file, size_t pos, size_t *next)
{
	const char *const p = file.p + pos;
	const char *const nl = memchr(p, '\n', file.n - pos);
	size_t n = nl ? (size_t)(nl - p) : file.n - pos;

	*next = pos + n + (nl ? 1 : 0);
	if (n > 0 && p[n - 1] == '\r')
		n--;
	return str_n(p, n);
}

static bool from_at(struct str file, size_t pos)
{
	size_t next;
	int64_t date;

	return pos < file.n && file.n - pos > 5 && memcmp(file.p + pos, "From ", 5) == 0 && mail_mbox_from(line_at(file, pos, &next), &date);
}

bool mail_mbox_is(struct str file)
{
	return from_at(file, 0);
}

/* --- one message --- */

/* Bytes of an empty line at pos; 0: none. */
static size_t empty_at(struct str file, size_t pos)
{
	if (pos < file.n && file.p[pos] == '\n')
		return 1;
	return pos + 1 < file.n && file.p[pos] == '\r' && file.p[pos + 1] == '\n' ? 2 : 0;
}

/* Content-Length of this header section. 0: there is one. */
static int length_of(struct str head, uint64_t *out)
{
	struct mail_field f;

	return mail_field_find(head, "Content-Length", &f) ? num_parse(str_trim(f.value), 0, INT64_MAX, out) : -1;
}

/* Does a body from..from+n end where a message ends? *end_out: the begin of the next, or the file's end. */
static bool counted_end(struct str file, size_t from, uint64_t n, size_t *end_out)
{
	if (n > file.n - from)
		return false;
	size_t at = from + (size_t)n;
	for (int i = 0; i < 2 && at < file.n && !from_at(file, at); i++) {
		const size_t k = empty_at(file, at);
		if (k == 0)
			return false;
		at += k;
	}
	if (at < file.n && !from_at(file, at))
		return false;
	*end_out = at;
	return true;
}

/* The next From_ line behind an empty one, from a line's start on. */
static size_t scan_end(struct str file, size_t pos, bool was_empty)
{
	while (pos < file.n) {
		size_t next;
		if (was_empty && from_at(file, pos))
			return pos;
		was_empty = line_at(file, pos, &next).n == 0;
		pos = next;
	}
	return file.n;
}

int mail_mbox_next(struct str file, size_t *pos, struct mail_mbox_msg *out)
{
	struct mail_mbox_msg m = { 0 };
	size_t at = *pos, next, body, end;
	uint64_t n;

	for (size_t k; (k = empty_at(file, at)) > 0;)
		at += k;
	if (at >= file.n) {
		*pos = file.n;
		return 1;
	}
	if (!mail_mbox_from(line_at(file, at, &next), &m.date)) {
		*pos = at;
		return -1;
	}
	const size_t head = next;
	bool cut = false;	/* the header section ends with the file, or with the next message */
	for (at = head; at < file.n && empty_at(file, at) == 0; at = next) {
		if (at > head && from_at(file, at)) {
			cut = true;
			break;
		}
		(void)line_at(file, at, &next);
	}
	m.head = str_sub(file, head, at - head);
	body = cut ? at : at + empty_at(file, at);
	if (cut || body >= file.n)
		end = body;
	else if (length_of(m.head, &n) == 0 && counted_end(file, body, n, &end))
		m.counted = true;
	else
		end = scan_end(file, body, true);
	m.body = str_sub(file, body, end - body);
	if (m.counted)
		m.body = str_sub(m.body, 0, (size_t)n);
	else if (m.body.n > 0 && end < file.n)	/* the empty line is the format's */
		m.body.n -= m.body.n >= 2 && m.body.p[m.body.n - 2] == '\r' ? 2 : 1;
	*pos = end;
	*out = m;
	return 0;
}

/* --- status fields --- */

/* Fields that the mbox's programs wrote; they are no part of the message. */
static const char *const own_fields[] = {
	"Status", "X-Status", "X-UID", "X-IMAP", "X-IMAPbase", "X-Keywords", "X-Mozilla-Status", "X-Mozilla-Status2", "X-Mozilla-Keys", "Content-Length", "Lines",
};

static bool is_own(struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(own_fields); i++)
		if (str_case_eq(name, str_c(own_fields[i])))
			return true;
	return false;
}

static void letters(struct mail_mbox_meta *m, struct str value)
{
	for (size_t i = 0; i < value.n; i++) {
		m->seen |= value.p[i] == 'R';
		m->old |= value.p[i] == 'O';
		m->answered |= value.p[i] == 'A';
		m->flagged |= value.p[i] == 'F';
		m->deleted |= value.p[i] == 'D';
		m->draft |= value.p[i] == 'T';
	}
}

static void mozilla(struct mail_mbox_meta *m, struct str value)
{
	uint64_t v;

	if (num_parse_hex(value, 0xffff, &v) < 0)
		return;
	m->seen |= v & 0x0001;
	m->answered |= (v & 0x0002) != 0;
	m->flagged |= (v & 0x0004) != 0;
	m->removed |= (v & 0x0008) != 0;
	m->forwarded |= (v & 0x1000) != 0;
}

static void keywords(struct mail_mbox_meta *m, struct str value)
{
	while (value.n > 0 && m->n_keywords < MBOX_KEYWORDS_MAX) {
		size_t k = 0;
		while (k < value.n && !ch_space(value.p[k]) && value.p[k] != ',')
			k++;
		const struct str word = str_sub(value, 0, k);
		/* Only what a client could have set; the rest is garbage. */
		bool ok = word.n > 0 && word.n < 100;
		for (size_t i = 0; i < word.n; i++)
			ok &= word.p[i] > ' ' && word.p[i] < 0x7f && strchr("(){%*\"\\]", word.p[i]) == NULL;
		if (ok)
			m->keywords[m->n_keywords++] = word;
		value = str_from(value, k < value.n ? k + 1 : k);
	}
}

static void imap_base(struct mail_mbox_meta *m, struct str value)
{
	uint64_t uv, last;

	if (num_take(&value, UINT32_MAX, &uv) < 0 || value.n == 0)
		return;
	value = str_trim(value);
	if (uv > 0 && num_take(&value, UINT32_MAX - 1, &last) == 0) {
		m->uidvalidity = (uint32_t)uv;
		m->uidlast = (uint32_t)last;
	}
}

void mail_mbox_meta(const struct mail_mbox_msg *msg, struct mail_mbox_meta *out)
{
	struct str head = msg->head;
	struct mail_field f;
	uint64_t v;

	*out = (struct mail_mbox_meta){ 0 };
	while (mail_field_next(&head, &f) == 0) {
		const struct str value = str_trim(f.value);
		if (str_case_eq(f.name, STR("Status")) || str_case_eq(f.name, STR("X-Status")))
			letters(out, value);
		else if (str_case_eq(f.name, STR("X-Mozilla-Status")))
			mozilla(out, value);
		else if (str_case_eq(f.name, STR("X-Mozilla-Keys")) || str_case_eq(f.name, STR("X-Keywords")))
			keywords(out, value);
		else if (str_case_eq(f.name, STR("X-UID")) && num_parse(value, 1, UINT32_MAX - 1, &v) == 0)
			out->uid = (uint32_t)v;
		else if (str_case_eq(f.name, STR("X-IMAP")) || str_case_eq(f.name, STR("X-IMAPbase")))
			imap_base(out, value);
		else if (str_case_eq(f.name, STR("Subject")) && str_starts(value, STR("DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA")))
			out->internal = true;
	}
}

/* --- text --- */

/* A line of the body that the writer quoted: how many bytes of it to leave out. */
static size_t quoted(struct str line, enum mail_mbox_quote quote)
{
	size_t n = 0;

	while (n < line.n && line.p[n] == '>')
		n++;
	if (n == 0 || line.n - n < 5 || memcmp(line.p + n, "From ", 5) != 0)
		return 0;
	return quote == MBOX_QUOTE_RD || (quote == MBOX_QUOTE_O && n == 1) ? 1 : 0;
}

static int put_body(struct str body, enum mail_mbox_quote quote, mail_mbox_put *put, void *ctx, struct err *e)
{
	size_t from = 0, pos = 0;

	while (pos < body.n) {
		const char *const p = memchr(body.p + pos, '>', body.n - pos);
		if (p == NULL)
			break;
		pos = (size_t)(p - body.p);
		if (pos > 0 && body.p[pos - 1] != '\n') {
			pos++;
			continue;
		}
		const size_t skip = quoted(str_from(body, pos), quote);
		if (skip > 0 && pos > from && put(ctx, str_sub(body, from, pos - from), e) < 0)
			return -1;
		if (skip > 0)
			from = pos + skip;
		while (pos < body.n && body.p[pos] == '>')
			pos++;
	}
	return body.n > from ? put(ctx, str_from(body, from), e) : 0;
}

int mail_mbox_text(const struct mail_mbox_msg *m, enum mail_mbox_quote quote, mail_mbox_put *put, void *ctx, struct err *e)
{
	struct str head = m->head;
	struct mail_field f;

	while (head.n > 0 && mail_field_next(&head, &f) == 0)
		if (f.whole.n > 0 && !is_own(f.name) && !str_starts(f.whole, STR(">From ")) && put(ctx, f.whole, e) < 0)
			return -1;
	if (put(ctx, STR("\n"), e) < 0)
		return -1;
	/* A counted body that holds From_ lines was not quoted (mboxcl2). */
	return put_body(m->body, m->counted && scan_end(m->body, 0, true) < m->body.n ? MBOX_QUOTE_NONE : quote, put, ctx, e);
}
