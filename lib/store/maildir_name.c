/* The names of a maildir's files: how ours are made, and what they tell, ours and other writers'. */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "store/maildir_priv.h"

enum { HOST_MAX = 64 };		/* bytes of the host name kept in a file name */

/* This machine's name, made safe for a file name: '/' and ':' as octal, anything odd dropped. */
static const char *host_part(void)
{
	static char host[HOST_MAX + 8];
	struct utsname u;
	size_t n = 0;

	if (host[0] != '\0')
		return host;
	if (uname(&u) < 0 || u.nodename[0] == '\0')
		memcpy(u.nodename, "localhost", sizeof("localhost"));
	for (const char *p = u.nodename; *p && n < HOST_MAX - 4; p++) {
		if (ch_alnum(*p) || *p == '.' || *p == '-' || *p == '_')
			host[n++] = *p;
		else if (*p == '/' || *p == ':')
			n += (size_t)snprintf(host + n, 5, "\\%03o", (unsigned)(unsigned char)*p);
	}
	host[n] = '\0';
	return host;
}

bool maildir_id_valid(const char *id)
{
	size_t n = 0;

	for (; id[n]; n++)
		if (!ch_alnum(id[n]) && id[n] != '-')
			return false;
	return n <= MAILDIR_ID_MAX;
}

/* A name that grows in max bytes of the caller's. Every message needs four, and printf took longer for them than for all else that names cost. */
struct name {
	char *p;
	size_t n, max;		/* n: without the NUL; max: over when n is not below it */
};

static void put(struct name *o, const char *p, size_t n)
{
	if (o->n < o->max && n < o->max - o->n)
		memcpy(o->p + o->n, p, n);
	o->n += n;
}

static void put_c(struct name *o, const char *s)
{
	put(o, s, strlen(s));
}

/* In that base, with zeros before it to so many places. */
static void put_number(struct name *o, uint64_t v, unsigned base, unsigned places)
{
	char digits[20];
	size_t i = sizeof(digits);

	for (; v > 0 || sizeof(digits) - i < places; v /= base)
		digits[--i] = "0123456789abcdef"[v % base];
	put(o, digits + i, sizeof(digits) - i);
}

static int ended(struct name *o)
{
	if (o->n >= o->max)
		return -1;
	o->p[o->n] = '\0';
	return 0;
}

/* secs.M<usec>P<pid>R<random>[Q<id>].<host>: unique by construction, exclusive create decides. */
int maildir_base_make(char *out, size_t max, const char *id)
{
	const uint64_t now = clock_wall_us();
	struct name o = { out, 0, max };

	put_number(&o, now / 1000000, 10, 1);
	put_c(&o, ".M");
	put_number(&o, now % 1000000, 10, 6);
	put_c(&o, "P");
	put_number(&o, (uint64_t)getpid(), 10, 1);
	put_c(&o, "R");
	put_number(&o, unique_u64(), 16, 16);
	put_c(&o, *id ? "Q" : "");
	put_c(&o, id);
	put_c(&o, ".");
	put_c(&o, host_part());
	return ended(&o);
}

int maildir_name_make(char *out, size_t max, const char *base, uint64_t size, uint64_t size_crlf)
{
	struct name o = { out, 0, max };

	put_c(&o, base);
	put_c(&o, ",S=");
	put_number(&o, size, 10, 1);
	put_c(&o, ",W=");
	put_number(&o, size_crlf, 10, 1);
	return ended(&o);
}

int maildir_path_make(char *out, size_t max, const char *dir, const char *name, const char *ends)
{
	struct name o = { out, 0, max };

	put_c(&o, dir);
	put_c(&o, "/");
	put_c(&o, name);
	put_c(&o, ends);
	return ended(&o);
}

/* --- what they tell --- */

/* The number after ",S=" or ",W=". */
static uint64_t size_of(struct str rest)
{
	uint64_t v;

	if (num_take(&rest, UINT64_MAX - 1, &v) < 0 || (rest.n > 0 && rest.p[0] != ',' && rest.p[0] != ':'))
		return UINT64_MAX;
	return v;
}

/* The first of each kind counts. */
static void parse_sizes(struct str base, struct maildir_name *out)
{
	bool has_size = false, has_crlf = false;
	ptrdiff_t at;

	for (; (at = str_chr(base, ',')) >= 0; base = str_from(base, (size_t)at + 1)) {
		const struct str field = str_from(base, (size_t)at + 1);

		if (field.n < 2 || field.p[1] != '=')
			continue;
		if (field.p[0] == 'S' && !has_size) {
			has_size = true;
			out->size = size_of(str_from(field, 2));
		} else if (field.p[0] == 'W' && !has_crlf) {
			has_crlf = true;
			out->size_crlf = size_of(str_from(field, 2));
		}
	}
}

/* "M12P34R56Qid" -> microseconds and id. Other writers' unique parts are left alone. */
static void parse_unique(struct str u, struct maildir_name *out)
{
	uint64_t v;
	ptrdiff_t r, q;

	if (u.n < 2 || u.p[0] != 'M' || !ch_digit(u.p[1]))
		return;
	struct str rest = str_from(u, 1);
	if (num_take(&rest, 999999, &v) == 0)
		out->usecs = (uint32_t)v;
	r = str_chr(u, 'R');
	if (r < 0)
		return;
	q = str_chr(str_from(u, (size_t)r), 'Q');
	if (q == 17)	/* R and sixteen hex digits */
		out->id = str_from(u, (size_t)(r + q + 1));
}

/* The first ":2,": a whole folder's names are looked through, so by its colon. */
static ptrdiff_t info_find(struct str name)
{
	size_t from = 0;
	ptrdiff_t at;

	while ((at = str_chr(str_from(name, from), ':')) >= 0) {
		from += (size_t)at + 1;
		if (name.n - from >= 2 && name.p[from] == '2' && name.p[from + 1] == ',')
			return (ptrdiff_t)from - 1;
	}
	return -1;
}

void maildir_name_parse(struct str name, struct maildir_name *out)
{
	const ptrdiff_t colon = info_find(name);
	struct str rest;
	uint64_t v;
	ptrdiff_t dot;

	*out = (struct maildir_name){ .base = name, .size = UINT64_MAX, .size_crlf = UINT64_MAX };
	if (colon >= 0) {
		out->base = str_sub(name, 0, (size_t)colon);
		out->info = str_from(name, (size_t)colon + 3);
	}
	rest = out->base;
	if (num_take(&rest, INT64_MAX, &v) == 0 && rest.n > 0 && rest.p[0] == '.') {
		out->secs = (int64_t)v;
		rest = str_from(rest, 1);
		dot = str_chr(rest, '.');
		parse_unique(dot < 0 ? rest : str_sub(rest, 0, (size_t)dot), out);
	}
	parse_sizes(out->base, out);
}
