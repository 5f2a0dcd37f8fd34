/* Received fields to relays (SpamAssassin's X-Spam-Relays-… depend on what it reads there): the forms are rows of received.def, compiled once. */

#include <stdlib.h>

#include "base/num.h"
#include "mail/head.h"
#include "spam/msg.h"

enum { DNS = 1, COPY = 2, UNKNOWN = 4, KNOWN = 8, IDENT = 16, SKIP = 32, FETCH = 64, NOID = 128, UPPER = 256, PAREN = 512 };

#define RCVD_LOCALHOST "(?:localhost(?:\\.localdomain)?|127\\.0\\.0\\.1|\\[?(?:IPv6:)?::1\\]?)"
#define RCVD_QMAIL "(?=\\S+(?: \\((?:HELO|EHLO) \\S*\\))? \\((?:\\S+@)?\\[?%J\\]?\\)(?: \\(envelope-sender <\\S+>\\))? by \\S+(?: \\(.+\\))* with " \
	"(?:.* )?(?:SMTP|QMQP)(?! id ))"

static const struct { const char *guard, *pattern; unsigned flags; } forms[] = {
#define RCVD(guard, pattern, flags) { guard, pattern, flags },
#include "spam/received.def"
#undef RCVD
};
enum { FORMS = ARRAY_LEN(forms), GROUPS_MAX = 8 };

/* How a server says that the sender had logged in, tried on the line as it came. "\1": what stands there is the name of the kind. */
static const struct { const char *guard, *pattern, *name; } logins[] = {
	{ " with ", "(?i) by .* with ((?:ES|L|UTF8S|UTF8L)MTPS?A|ASMTP|HTTP[SU]?)(?: |;|$)", NULL },
	{ "by mx.google.com with ESMTPS", " by mx\\.google\\.com with ESMTPS id [a-z0-9]{1,4}sm[0-9]{2,9}[a-z]{3}\\.[0-9]{1,3}\\.[0-9]{4}\\.(?:[0-6][0-9]\\.){4}[0-6][0-9].*"
	  "\\(version=([^ ]+) cipher=[^)]+\\)", "GMail" },
	{ "(AUTH: ", "^from .*?(?:\\]\\)|\\)\\]) \\(AUTH: (LOGIN|PLAIN|DIGEST-MD5|CRAM-MD5) \\S+(?:, .*?)?\\) by ", NULL },
	{ "authenticated", "^from .*?(?:\\](?: \\([^)]*\\))?\\)|\\)\\]) .*?\\(.*?authenticated.*?\\).*? by", "Sendmail" },
	{ "mail.gmx.", "from \\S* \\((?:HELO|EHLO) \\S*\\) \\[%J\\] by mail\\.gmx\\.(?:net|com) \\([^)]+\\) with E?SMTP", "GMX" },
	{ "(authenticated as ", "\\) by .+ \\(\\d{1,2}\\.\\d\\.\\d{3}(?:\\.\\d{1,3})?\\) \\(authenticated as .+\\) id ", "CriticalPath" },
	{ "(Authenticated sender: ", "\\) \\(Authenticated sender: \\S+\\) by \\S+ \\([^)]+\\) with ", "Postfix" },
	{ "(account ", "CommuniGate Pro (?:HTTP|SMTP|XIMSS|IMAP)", "Communigate" },
	{ "HTTP-DAV", " with Microsoft Exchange Server HTTP-DAV\\b", "HTTP-DAV" },
	{ " (via HTTP", "(?i) by .* \\(via (HTTP.?)\\)(?: |;|$)", NULL },
};

#define HELO_CHARS "-A-Za-z0-9.^+_&:=?!@%%*$\\\\/"
static const char helo_pattern[] = "\\b(?:helo=|(?:HELO|EHLO) )([" HELO_CHARS "]+)(?:[^" HELO_CHARS "]|$)";
static const char date_pattern[] = "[\\s;]+(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), )?\\d+ (?:Jan|Feb|Mar|May|Apr|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \\d+ "
	"\\d+:\\d+(?::\\d+)? \\S+$";
static const char envelope_pattern[] = "(?i)(?:return-path:? |envelope-(?:sender|from)[ =])(\\S+)\\b";
static const char local_pattern[] = "(?i)^from (?!\\[[\\d.]+\\] )(\\S+) by [^\\s;]+ ?;";
static const char id_pattern[] = " id <?([^\\s<>;]{3,})";
static const char by_pattern[] = " by (\\S+)(?:[^-A-Za-z0-9;.]|$)";
static const char bracket_pattern[] = "\\[(%J)\\]";

struct received {
	struct { struct pcre *code; char kinds[GROUPS_MAX]; size_t n; } form[FORMS];
	struct pcre *login[ARRAY_LEN(logins)];
	struct pcre *helo, *date, *envelope, *local, *id, *by, *bracket;
};

static struct received *loaded;

#define IP4 "(?:1\\d\\d|2[0-4]\\d|25[0-5]|[1-9]?\\d)(?:\\.(?:1\\d\\d|2[0-4]\\d|25[0-5]|[1-9]?\\d)){3}"
static const char ip_text[] = "\\b(?<!:)" IP4 "\\b|(?:IPv6:|(?<![a-fA-F0-9:]))(?=[a-fA-F0-9:]*:[a-fA-F0-9:]*:)[a-fA-F0-9:]{2,39}(?:" IP4 ")?(?![a-fA-F0-9:])";

/* %X to a group, in the order of kinds. */
static int compile(const char *text, bool jit, char *kinds, size_t *n, struct pcre **out, struct err *e)
{
	static const struct { char kind; const char *text; } groups[] = {
		{ 'H', "(\\S+)" }, { 'h', "(\\S*)" }, { 'R', "(\\S+)" }, { 'B', "(\\S+)" }, { 'D', "(\\S*)" }, { 'N', "(.*?)" },
	};
	struct buf b;
	buf_init(&b, 65536);
	for (; *text != '\0'; text++) {
		if (*text != '%') {
			buf_ch(&b, *text);
			continue;
		}
		text++;
		for (size_t i = 0; i < ARRAY_LEN(groups); i++)
			if (groups[i].kind == *text)
				buf_c(&b, groups[i].text);
		if (*text == 'I')
			buf_printf(&b, "(%s)", ip_text);
		else if (*text == 'J')
			buf_printf(&b, "(?:%s)", ip_text);
		else if (*text == '%')
			buf_ch(&b, '%');
		if (strchr("HhRBDNI", *text) != NULL && kinds != NULL && *n < GROUPS_MAX)
			kinds[(*n)++] = *text == 'h' ? 'H' : *text;
	}
	int r = pcre_compile(buf_view(&b), "", jit, out, e);
	buf_fini(&b);
	return r;
}

int received_load(struct set *s, struct err *e)
{
	if (loaded != NULL)
		return 0;
	struct received *r = xzalloc(sizeof(*r));
	bool jit = s->opt->jit;
	for (size_t i = 0; i < FORMS; i++)
		if (compile(forms[i].pattern, jit, r->form[i].kinds, &r->form[i].n, &r->form[i].code, e) < 0)
			return err_wrap(e, "received.def, %s", forms[i].pattern);
	for (size_t i = 0; i < ARRAY_LEN(logins); i++)
		if (compile(logins[i].pattern, jit, NULL, NULL, &r->login[i], e) < 0)
			return -1;
	const struct { const char *text; struct pcre **to; } others[] = {
		{ helo_pattern, &r->helo }, { date_pattern, &r->date }, { envelope_pattern, &r->envelope }, { local_pattern, &r->local },
		{ id_pattern, &r->id }, { by_pattern, &r->by }, { bracket_pattern, &r->bracket },
	};
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		if (compile(others[i].text, jit, NULL, NULL, others[i].to, e) < 0)
			return -1;
	loaded = r;
	return 0;
}

static bool match(const struct pcre *p, struct str s, struct str *groups, size_t n)
{
	struct err e = { 0 };
	return pcre_match(p, s, groups, n, &e) == 1;
}

static struct str group_one(const struct pcre *p, struct str s)
{
	struct str g[2];
	return match(p, s, g, 2) ? g[1] : STR("");
}

static struct str find_login(struct str line)
{
	struct str g[2];
	for (size_t i = 0; i < ARRAY_LEN(logins); i++)
		if (str_find(line, str_c(logins[i].guard)) >= 0 && match(loaded->login[i], line, g, 2))
			return logins[i].name == NULL ? g[1] : str_c(logins[i].name);
	return STR("");
}

/* helo=x and ident=y in the text between parentheses. */
static void named_parts(struct str text, struct relay *r)
{
	const struct { const char *name; struct str *to; } parts[] = { { "helo=", &r->helo }, { "ident=", &r->ident } };
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		ptrdiff_t at = str_find(text, str_c(parts[i].name));
		if (at < 0)
			continue;
		struct str v = str_from(text, (size_t)at + strlen(parts[i].name));
		size_t n = 0;
		while (n < v.n && !sp_char(v.p[n]))
			n++;
		if (n > 0 || i == 1)
			*parts[i].to = str_sub(v, 0, n);
	}
}

static void take_groups(size_t form, const struct str *g, struct relay *r)
{
	for (size_t k = 0; k < loaded->form[form].n; k++) {
		struct str v = g[k + 1];
		switch (loaded->form[form].kinds[k]) {
		case 'H':
			r->helo = v;
			break;
		case 'R':
			r->rdns = v;
			break;
		case 'B':
			r->by = v;
			break;
		case 'I':
			r->ip = v;
			break;
		case 'D':
			r->ident = v;
			break;
		default:
			break;
		}
	}
	if (forms[form].flags & COPY)
		r->helo = r->rdns;
	for (size_t k = 0; k < loaded->form[form].n; k++)
		if (loaded->form[form].kinds[k] == 'N')
			named_parts(g[k + 1], r);
}

static void apply_flags(unsigned flags, struct relay *r)
{
	bool unknown = str_eq(r->rdns, STR("unknown"));
	r->no_rdns = (flags & DNS) != 0 || ((flags & KNOWN) && !unknown);
	if ((flags & (UNKNOWN | KNOWN)) && unknown)
		r->rdns = STR("");
	if (flags & NOID)
		r->id = STR("");
	ptrdiff_t sign = flags & IDENT ? str_chr(r->rdns, '@') : -1;
	if (sign >= 0) {
		r->ident = str_sub(r->rdns, 0, (size_t)sign);
		if (str_starts(r->ident, STR("IDENT:")))
			r->ident = str_from(r->ident, 6);
		r->rdns = str_from(r->rdns, (size_t)sign + 1);
	}
}

/* 1 a relay, 0 ignore, -1 no form fits, 2 mail was fetched. */
static int try_forms(struct str line, unsigned kind, struct relay *r)
{
	struct str g[GROUPS_MAX + 1];
	for (size_t i = 0; i < FORMS; i++) {
		unsigned flags = forms[i].flags;
		if ((flags & (UPPER | PAREN)) != kind || (forms[i].guard[0] != '\0' && str_find(line, str_c(forms[i].guard)) < 0))
			continue;
		struct relay copy = *r;
		if (!match(loaded->form[i].code, line, g, ARRAY_LEN(g)))
			continue;
		if (flags & SKIP)
			return flags & FETCH ? 2 : 0;
		take_groups(i, g, &copy);
		apply_flags(flags, &copy);
		*r = copy;
		return 1;
	}
	return -1;
}

static struct str neutral(struct arena *a, struct str v)
{
	char *p = arena_alloc(a, v.n + 1);
	for (size_t i = 0; i < v.n; i++)
		p[i] = sp_char(v.p[i]) || v.p[i] == '\0' || strchr("#[]()<>|", v.p[i]) != NULL ? '!' : v.p[i];
	return str_n(p, v.n);
}

static struct str clean_ip(struct str ip)
{
	if (str_case_starts(ip, STR("ipv6:")))
		ip = str_from(ip, 5);
	if (str_case_starts(ip, STR("::ffff:")) && ip_is_v4(str_from(ip, 7)))
		ip = str_from(ip, 7);
	return ip;
}

static void clean(struct arena *a, struct relay *r)
{
	while (r->rdns.n > 0 && r->rdns.p[r->rdns.n - 1] == '.')
		r->rdns.n--;
	if (str_case_eq(r->rdns, STR("unknown")) || str_starts(r->rdns, STR("[")))
		r->rdns = STR("");
	if (r->by.n > 0 && r->by.p[r->by.n - 1] == ';')
		r->by.n--;
	r->ip = clean_ip(r->ip);
	struct str *all[] = { &r->ip, &r->rdns, &r->helo, &r->by, &r->ident };
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		*all[i] = neutral(a, all[i]->p == NULL ? STR("") : *all[i]);
	if (r->has_envfrom) {
		struct str v = r->envfrom;
		while (v.n > 0 && v.p[0] == '<')
			v = str_from(v, 1);
		while (v.n > 0 && v.p[v.n - 1] == '>')
			v.n--;
		r->envfrom = neutral(a, v);
	}
	r->no_rdns = r->no_rdns && r->rdns.n == 0;
	r->private = ip_private(r->ip);
}

/* Blanks squeezed, the date at the end and what stands before it gone. */
static struct str prepare(struct arena *a, struct str line)
{
	struct str s = sp_trim(str_squeeze(a, line));
	while (s.n > 0 && s.p[s.n - 1] == ';')
		s = sp_trim(str_sub(s, 0, s.n - 1));
	return s;
}

static struct str without_date(struct arena *a, struct str s)
{
	struct str g[1];
	if (match(loaded->date, s, g, 1))
		s = str_sub(s, 0, (size_t)(g[0].p - s.p));
	ptrdiff_t at = str_find(s, STR(")by "));
	return at < 0 ? s : str_c(arena_printf(a, "%.*s) by %.*s", (int)at, s.p, STR_ARG(str_from(s, (size_t)at + 4))));
}

static void common_parts(struct str line, struct relay *r)
{
	r->id = group_one(loaded->id, line);
	r->helo = group_one(loaded->helo, line);
	r->by = group_one(loaded->by, line);
	r->auth = find_login(line);
	struct str g[2];
	r->has_envfrom = str_starts(line, STR("from ")) && match(loaded->envelope, line, g, 2);
	r->envfrom = r->has_envfrom ? g[1] : STR("");
}

static int fallback(struct str rest, struct relay *r)
{
	size_t n = 0;
	while (n < rest.n && !sp_char(rest.p[n]))
		n++;
	if (r->helo.n == 0 && n < rest.n)
		r->helo = str_sub(rest, 0, n);
	r->ip = group_one(loaded->bracket, rest);
	return r->ip.n > 0 && r->by.n > 0 ? 1 : -1;
}

int received_parse(const struct set *set, struct arena *a, struct str text, struct relay *out)
{
	(void)set;
	struct str line = prepare(a, text), g[2];
	struct relay r = { .ip = STR(""), .rdns = STR(""), .helo = STR(""), .by = STR(""), .ident = STR(""), .envfrom = STR(""), .id = STR(""),
			   .auth = STR("") };
	bool paren = str_case_starts(line, STR("(from "));
	if ((!paren && !str_case_starts(line, STR("from "))) || str_find(line, STR(" with local for ")) >= 0 || match(loaded->local, line, g, 2))
		return 0;
	line = without_date(a, line);
	common_parts(line, &r);
	unsigned kind = paren ? PAREN : str_starts(line, STR("FROM ")) ? UPPER : 0;
	struct str rest = str_from(line, paren ? 6 : 5);
	int got = try_forms(rest, kind, &r);
	if (got == 0 || got == 2)
		return got;
	if (got < 0 && fallback(rest, &r) < 0)
		return -1;
	clean(a, &r);
	*out = r;
	return 1;
}
