/* Formatting, rate limits and the rule on idents. */
#include "log/frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/enc.h"
#include "log/log.h"
#include "log/log_priv.h"

enum {
	SENDERS = 1024,		/* slots by process id; a newcomer takes a slot over */
	LINES_MAX = 200,	/* a second, of one process */
	LINES_BULK_MAX = 50000, /* of queued and its like */
	LINES_UID_MAX = 5000,	/* of all processes of one uid that is not bulk */
	UIDS = 256,
};

struct counter {
	uint64_t key; /* pid or uid, + 1; 0: free */
	uint64_t second;
	unsigned lines, cut;
	char ident[LOG_IDENT_MAX + 1];
};

struct frame {
	char host[64];
	const struct frame_user *users;
	size_t n_users;
	struct counter senders[SENDERS], uids[UIDS];
	int64_t stamp_at;
	char stamp[32];
	struct counters *counters;
};

struct frame *frame_new(const char *host, const struct frame_user *users, size_t n_users)
{
	struct frame *f = xzalloc(sizeof(*f));
	size_t n = 0;

	for (const char *s = host; *s && *s != '.' && n < sizeof(f->host) - 1; s++)
		f->host[n++] = (char)(ch_alnum(*s) || *s == '-' ? *s : '_');
	if (n == 0)
		(void)memcpy(f->host, "localhost", sizeof("localhost"));
	f->users = users;
	f->n_users = n_users;
	f->stamp_at = INT64_MIN;
	return f;
}

void frame_free(struct frame **f)
{
	free(*f);
	*f = NULL;
}

void frame_count(struct frame *f, struct counters *c)
{
	f->counters = c;
}

/* NULL: not one of the suite. */
static const struct frame_user *user_find(const struct frame *f, uid_t uid)
{
	for (size_t i = 0; i < f->n_users; i++)
		if (f->users[i].uid == uid)
			return &f->users[i];
	return NULL;
}

/* The C locale's names whatever the environment says. */
static const char *stamp(struct frame *f, int64_t now)
{
	static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	const time_t t = (time_t)now;
	struct tm tm = { 0 };

	if (now == f->stamp_at)
		return f->stamp;
	localtime_r(&t, &tm);
	f->stamp_at = now;
	(void)snprintf(f->stamp, sizeof(f->stamp), "%s %2d %02d:%02d:%02d",
		       months[(unsigned)tm.tm_mon % 12], tm.tm_mday, tm.tm_hour, tm.tm_min,
		       tm.tm_sec);
	return f->stamp;
}

static void put(struct frame *f, struct str ident, pid_t pid, struct str text, int64_t now,
		struct buf *out)
{
	buf_c(out, stamp(f, now));
	buf_ch(out, ' ');
	buf_c(out, f->host);
	buf_ch(out, ' ');
	buf_str(out, ident);
	buf_ch(out, '[');
	buf_u64(out, (unsigned long long)pid);
	buf_c(out, "]: ");
	text_neutral(out, text, LOG_TEXT_MAX, false);
	buf_ch(out, '\n');
}

static void put_cut(struct frame *f, struct counter *c, pid_t pid, int64_t now, struct buf *out)
{
	char text[64];

	if (c->cut == 0)
		return;
	(void)snprintf(text, sizeof(text), "warning: %u lines suppressed", c->cut);
	put(f, str_c(c->ident), pid, str_c(text), now, out);
	c->cut = 0;
}

/* Count one line; true when it is within max. What was cut in an earlier second is told first. */
static bool count(struct frame *f, struct counter *c, uint64_t key, unsigned max, struct str ident,
		  int64_t now, uint64_t second, struct buf *out)
{
	if (c->key != key || c->second != second) {
		if (c->key)
			put_cut(f, c, (pid_t)(c->key - 1), now, out);
		c->key = key;
		c->second = second;
		c->lines = 0;
	}
	if (c->lines < max) {
		c->lines++;
		return true;
	}
	if (c->cut++ == 0)
		(void)snprintf(c->ident, sizeof(c->ident), "%.*s", (int)ident.n, ident.p);
	return false;
}

/* letters digits - _ . / only, so that a parser always finds "ident[pid]: ". */
static bool ident_sane(struct str s)
{
	if (s.n == 0 || s.n > LOG_IDENT_MAX)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!ch_alnum(s.p[i]) && !strchr("-_./", s.p[i]))
			return false;
	return true;
}

/* level, ident and text of a datagram; false: malformed. */
static bool parse(struct str d, int *level, struct str *ident, struct str *text)
{
	if (d.n < 4 || d.n > LOG_DATAGRAM_MAX + 16 || d.p[0] < '0' || d.p[0] > '3' || d.p[1] != ' ')
		return false;
	*level = d.p[0] - '0';
	struct str rest = str_from(d, 2);
	const ptrdiff_t blank = str_chr(rest, ' ');

	if (blank < 0)
		return false;
	*ident = str_sub(rest, 0, (size_t)blank);
	*text = str_from(rest, (size_t)blank + 1);
	return ident_sane(*ident);
}

/* Mail users' sessions write under Dovecot's ident; whatever else a foreign uid says must not look like a line of ours,
 * or a local user could have others banned or delivered mail invented. */
static bool may_say(struct str ident, struct str text)
{
	return str_eq(ident, STR("dovecot")) &&
	       (str_starts(text, STR("imap(")) || str_starts(text, STR("pop3(")));
}

void frame_line(struct frame *f, struct str datagram, struct frame_sender from, int64_t now,
		uint64_t second, struct buf *out, int *level_out)
{
	const struct frame_user *user = user_find(f, from.uid);
	const bool bulk = user && user->bulk;
	struct str ident, text;
	char local[32];

	if (!parse(datagram, level_out, &ident, &text))
		return;
	if (!user && !may_say(ident, text)) {
		(void)snprintf(local, sizeof(local), "user-%u", (unsigned)from.uid);
		ident = str_c(local);
	}
	if (!bulk && !count(f, &f->uids[from.uid % UIDS], (uint64_t)from.uid + 1, LINES_UID_MAX,
			    ident, now, second, out))
		return;
	if (!count(f, &f->senders[(unsigned)from.pid % SENDERS], (uint64_t)from.pid + 1,
		   bulk ? LINES_BULK_MAX : LINES_MAX, ident, now, second, out))
		return;
	put(f, ident, from.pid, text, now, out);
	if (f->counters)
		counters_add(f->counters, event_find(ident, text));
}

void frame_tick(struct frame *f, int64_t now, uint64_t second, struct buf *out)
{
	for (size_t i = 0; i < SENDERS; i++)
		if (f->senders[i].key && f->senders[i].second != second)
			put_cut(f, &f->senders[i], (pid_t)(f->senders[i].key - 1), now, out);
	for (size_t i = 0; i < UIDS; i++)
		if (f->uids[i].key && f->uids[i].second != second)
			put_cut(f, &f->uids[i], 0, now, out);
}

void frame_own(struct frame *f, const char *ident, const char *text, int64_t now, struct buf *out)
{
	put(f, str_c(ident), getpid(), str_c(text), now, out);
}
