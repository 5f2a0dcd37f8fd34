/* SPF records to terms (RFC 7208 4.6.1, 5, 6, 12). The whole record is read before any of it is evaluated: a fault anywhere is a permanent error. */
#include "authres/spf_priv.h"

#include "base/num.h"
#include "conf/conf.h"

/* --- macros and domains --- */

/* After "%{": length up to and with "}", or 0. */
static size_t macro_body(struct str s, bool explanation)
{
	size_t i = 0;
	if (s.n == 0 || strchr(explanation ? "slodiphcrtv" : "slodiphv", ch_lower(s.p[0])) == NULL || s.p[0] == '\0')
		return 0;
	for (i = 1; i < s.n && ch_digit(s.p[i]); i++)
		;
	uint64_t keep;
	if (i > 1 && num_parse(str_sub(s, 1, i - 1), 1, 128, &keep) < 0)
		return 0;
	if (i < s.n && ch_lower(s.p[i]) == 'r')
		i++;
	while (i < s.n && s.p[i] != '\0' && strchr(".-+,/_=", s.p[i]) != NULL)
		i++;
	return i < s.n && s.p[i] == '}' ? i + 1 : 0;
}

/* Length of the macro at s ("%%", "%{d}"), 0: it is none. */
static size_t macro_at(struct str s, bool explanation)
{
	if (s.n < 2)
		return 0;
	if (s.p[1] == '%' || s.p[1] == '_' || s.p[1] == '-')
		return 2;
	const size_t n = s.p[1] == '{' ? macro_body(str_from(s, 2), explanation) : 0;
	return n > 0 ? n + 2 : 0;
}

static bool macro_scan(struct str s, bool explanation, bool *ends_expand)
{
	bool last = false;
	while (s.n > 0) {
		size_t n = 1;
		last = false;
		if (s.p[0] == '%') {
			n = macro_at(s, explanation);
			last = n > 2;
			if (n == 0)
				return false;
		} else if ((unsigned char)s.p[0] > 0x7e || (unsigned char)s.p[0] < (explanation ? 0x20 : 0x21)) {
			return false;
		}
		s = str_from(s, n);
	}
	*ends_expand = last;
	return true;
}

bool spf_macro_valid(struct str s, bool explanation)
{
	bool ends;
	return macro_scan(s, explanation, &ends);
}

static bool toplabel(struct str s)
{
	bool other = false;
	for (size_t i = 0; i < s.n; i++) {
		if (!ch_alnum(s.p[i]) && s.p[i] != '-')
			return false;
		other = other || !ch_digit(s.p[i]);
	}
	return other && s.n > 0 && s.p[0] != '-' && s.p[s.n - 1] != '-';
}

bool spf_spec_valid(struct str s)
{
	bool ends;
	if (s.n == 0 || !macro_scan(s, false, &ends))
		return false;
	if (ends)
		return true;
	if (s.p[s.n - 1] == '.')
		s.n--;
	const ptrdiff_t dot = str_rchr(s, '.');
	return dot >= 0 && toplabel(str_from(s, (size_t)dot + 1));
}

/* --- mechanisms --- */

static int fault(struct arena *a, struct str term, const char *what, const char **why)
{
	*why = arena_printf(a, "%s in \"%.*s\"", what, (int)(term.n > 60 ? 60 : term.n), term.p);
	return -1;
}

static int prefix(struct str s, unsigned max, unsigned *out)
{
	uint64_t n;
	if (s.n > 3 || (s.n > 1 && s.p[0] == '0') || num_parse(s, 0, max, &n) < 0)
		return -1;
	*out = (unsigned)n;
	return 0;
}

/* "[:domain][/n][//n]" of a and mx. The prefix lengths are what follows the last slash that only digits follow. */
static int dual_cidr(struct str *s, struct spf_term *t)
{
	const ptrdiff_t six = str_find(*s, STR("//"));
	ptrdiff_t at = str_rchr(*s, '/');
	const size_t macro_end = (size_t)(str_rchr(*s, '}') + 1);	/* slashes inside a macro are delimiters */
	if (at < (ptrdiff_t)macro_end)
		return 0;
	if (six >= (ptrdiff_t)macro_end) {
		if (prefix(str_from(*s, (size_t)six + 2), 128, &t->bits6) < 0)
			return -1;
		s->n = (size_t)six;
		at = str_rchr(*s, '/');
		if (at < (ptrdiff_t)macro_end)
			return 0;
	}
	struct str digits = str_from(*s, (size_t)at + 1);
	for (size_t i = 0; i < digits.n; i++)
		if (!ch_digit(digits.p[i]))
			return 0;	/* a slash of the name */
	if (prefix(digits, 32, &t->bits4) < 0)
		return -1;
	s->n = (size_t)at;
	return 0;
}

static int domain_arg(struct str rest, bool needed, struct str *spec)
{
	if (rest.n == 0)
		return needed ? -1 : 0;
	if (rest.p[0] != ':' || !spf_spec_valid(str_from(rest, 1)))
		return -1;
	*spec = str_from(rest, 1);
	return 0;
}

static int network_arg(struct str rest, struct spf_term *t)
{
	const bool v4 = t->kind == SPF_IP4;
	if (rest.n < 2 || rest.p[0] != ':')
		return -1;
	struct str len = str_from(rest, 1);
	const struct str addr = str_split(&len, '/');
	if (addr_parse(addr, t->addr) < 0 || (str_chr(addr, ':') < 0) != v4)
		return -1;
	return len.p == NULL ? 0 : prefix(len, v4 ? 32 : 128, v4 ? &t->bits4 : &t->bits6);
}

static int mechanism(struct arena *a, struct str term, struct spf_term *t, const char **why)
{
	static const char *const names[] = { "all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists" };
	struct str s = term;
	size_t n = 0, k = 0;
	*t = (struct spf_term){ .qualifier = '+', .text = term, .bits4 = 32, .bits6 = 128 };
	if (s.n > 0 && strchr("+-~?", s.p[0]) != NULL && s.p[0] != '\0') {
		t->qualifier = s.p[0];
		s = str_from(s, 1);
	}
	while (n < s.n && s.p[n] != ':' && s.p[n] != '/')
		n++;
	while (k < ARRAY_LEN(names) && !str_case_eq(str_sub(s, 0, n), str_c(names[k])))
		k++;
	if (k == ARRAY_LEN(names))
		return fault(a, term, "unknown mechanism", why);
	t->kind = (enum spf_kind)k;
	s = str_from(s, n);
	if ((k == SPF_A || k == SPF_MX) && dual_cidr(&s, t) < 0)
		return fault(a, term, "bad prefix length", why);
	if (k == SPF_IP4 || k == SPF_IP6)
		return network_arg(s, t) < 0 ? fault(a, term, "bad address", why) : 0;
	if (k == SPF_ALL)
		return s.n > 0 ? fault(a, term, "argument of all", why) : 0;
	return domain_arg(s, k == SPF_INCLUDE || k == SPF_EXISTS, &t->spec) < 0 ? fault(a, term, "bad domain", why) : 0;
}

/* --- modifiers --- */

/* Is it name=…? Its length up to "=", or 0. */
static size_t modifier_name(struct str s)
{
	size_t n = 0;
	while (n < s.n && (ch_alnum(s.p[n]) || s.p[n] == '-' || s.p[n] == '_' || s.p[n] == '.'))
		n++;
	return n > 0 && n < s.n && s.p[n] == '=' && ch_alpha(s.p[0]) ? n : 0;
}

static int modifier(struct arena *a, struct str term, size_t n, struct spf_record *out, const char **why)
{
	const struct str name = str_sub(term, 0, n), value = str_from(term, n + 1);
	struct str *place = str_case_eq(name, STR("redirect")) ? &out->redirect : str_case_eq(name, STR("exp")) ? &out->exp : NULL;
	if (place == NULL)
		return spf_macro_valid(value, false) ? 0 : fault(a, term, "bad macro", why);
	if (place->p != NULL)
		return fault(a, term, "modifier twice", why);
	if (!spf_spec_valid(value))
		return fault(a, term, "bad domain", why);
	*place = value;
	return 0;
}

int spf_record_parse(struct arena *a, struct str text, struct spf_record *out, const char **why)
{
	struct str rest = text, term;
	*out = (struct spf_record){ 0 };
	for (size_t i = 0; i < text.n; i++)
		if ((unsigned char)text.p[i] < 0x20 || (unsigned char)text.p[i] > 0x7e)
			return fault(a, STR(""), "a byte that is not printable ASCII", why);
	while (str_token(&rest, " ", &term)) {
		const size_t n = modifier_name(term);
		if (n > 0) {
			if (modifier(a, term, n, out, why) < 0)
				return -1;
			continue;
		}
		if (out->n == SPF_TERMS_MAX)
			return fault(a, term, "too many terms", why);
		if (mechanism(a, term, &out->v[out->n], why) < 0)
			return -1;
		out->n++;
	}
	return 0;
}
