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

/* secs.M<usec>P<pid>R<random>[Q<id>].<host>: unique by construction, exclusive create decides. */
int maildir_base_make(char *out, size_t max, const char *id)
{
	const uint64_t now = clock_wall_us();

	return snprintf(out, max, "%llu.M%06uP%ldR%016llx%s%s.%s", (unsigned long long)(now / 1000000), (unsigned)(now % 1000000), (long)getpid(),
			(unsigned long long)unique_u64(), *id ? "Q" : "", id, host_part());
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
