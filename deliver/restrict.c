/* Restriction lists. A row of restrictions.def is a name, a question and an answer; a list is an array of rows. Inside a list the first decisive row
 * wins; permit ends its own list only, a refusal ends all.
 */
#include <string.h>

#include "deliver/restrict.h"
#include "smtp/addr.h"

enum verdict { DUNNO, PERMIT, REFUSE };
enum object { CLIENT, HELO, SENDER, RCPT, RELAY, LIST };

typedef enum verdict rule_fn(const struct restrict_facts *f);

static bool is(struct str s, const char *word)
{
	return str_eq(s, str_c(word));
}

static bool ours(const struct restrict_facts *f)
{
	return is(f->class, "local") || is(f->class, "virtual") || is(f->class, "relay") || is(f->class, "unknown");
}

static bool address_short(struct str addr)
{
	const ptrdiff_t at = str_rchr(addr, '@');
	const struct str domain = at < 0 ? STR("") : str_from(addr, (size_t)at + 1);

	if (addr.n == 0 || (domain.n > 0 && domain.p[0] == '['))
		return false;
	return str_chr(domain, '.') < 0 || !smtp_domain_valid(domain);
}

static enum verdict permit(const struct restrict_facts *f) { return PERMIT; }
static enum verdict reject(const struct restrict_facts *f) { return REFUSE; }
static enum verdict dunno(const struct restrict_facts *f) { return DUNNO; }
static enum verdict permit_mynetworks(const struct restrict_facts *f) { return f->mynetworks ? PERMIT : DUNNO; }
static enum verdict permit_user(const struct restrict_facts *f) { return f->user ? PERMIT : DUNNO; }
static enum verdict permit_ours(const struct restrict_facts *f) { return ours(f) ? PERMIT : DUNNO; }
static enum verdict reject_foreign(const struct restrict_facts *f) { return ours(f) ? DUNNO : REFUSE; }
static enum verdict reject_unlisted(const struct restrict_facts *f) { return is(f->class, "unknown") ? REFUSE : DUNNO; }
static enum verdict reject_helo_syntax(const struct restrict_facts *f) { return f->helo.n > 0 && !smtp_helo_valid(f->helo) ? REFUSE : DUNNO; }
static enum verdict reject_helo_short(const struct restrict_facts *f)
{
	return f->helo.n > 0 && f->helo.p[0] != '[' && str_chr(f->helo, '.') < 0 ? REFUSE : DUNNO;
}
static enum verdict reject_sender_short(const struct restrict_facts *f) { return address_short(f->sender) ? REFUSE : DUNNO; }
static enum verdict reject_rcpt_short(const struct restrict_facts *f)
{
	return !str_case_eq(f->recipient, STR("postmaster")) && address_short(f->recipient) ? REFUSE : DUNNO;
}

static const struct rule {
	const char *name;
	rule_fn *fn;
	int code;
	const char *enhanced;
	enum object object;
	const char *text;
} rules[] = {
#define RESTRICT(name, fn, code, enhanced, object, text, doc) { #name, fn, code, enhanced, object, text },
#define RALIAS(old, name)
#define RNEEDS(name, what)
#include "deliver/restrictions.def"
#undef RESTRICT
#undef RALIAS
#undef RNEEDS
};

static const struct {
	const char *old, *name;
} aliases[] = {
#define RESTRICT(name, fn, code, enhanced, object, text, doc)
#define RALIAS(old, name) { #old, #name },
#define RNEEDS(name, what)
#include "deliver/restrictions.def"
#undef RESTRICT
#undef RALIAS
#undef RNEEDS
};

static const struct {
	const char *name, *what;
} needs[] = {
#define RESTRICT(name, fn, code, enhanced, object, text, doc)
#define RALIAS(old, name)
#define RNEEDS(name, what) { #name, what },
#include "deliver/restrictions.def"
#undef RESTRICT
#undef RALIAS
#undef RNEEDS
};

enum { LISTS = 5 };

struct restrict_list {
	const struct rule **v;
	size_t n;
	enum object object;	/* what LIST means here */
};

struct restrict_set {
	struct restrict_list lists[LISTS];
};

static int find_rule(const char *param, struct str word, const struct rule **out, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(aliases); i++)
		if (str_case_eq(word, str_c(aliases[i].old)))
			word = str_c(aliases[i].name);
	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		if (str_case_eq(word, str_c(rules[i].name))) {
			*out = &rules[i];
			return 0;
		}
	for (size_t i = 0; i < ARRAY_LEN(needs); i++)
		if (str_case_eq(word, str_c(needs[i].name)))
			return err_set(e, ERR_CONF, 0, "%s: %s needs the %s role, not built yet", param, needs[i].name, needs[i].what);
	return err_set(e, ERR_CONF, 0, "%s: unknown restriction %.*s", param, STR_ARG(word));
}

static int compile(const char *param, struct conf_list words, enum object object, struct arena *a, struct restrict_list *out, struct err *e)
{
	out->v = ARENA_ARRAY(a, const struct rule *, words.n + 1);
	out->object = object;
	for (size_t i = 0; i < words.n; i++)
		if (find_rule(param, str_c(words.v[i]), &out->v[out->n], e) < 0)
			return -1;
		else
			out->n++;
	return 0;
}

/* Somewhere it must be said that not everybody may send everywhere. */
static bool is_relay_safe(const struct restrict_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i]->fn == reject_foreign || l->v[i]->fn == reject)
			return true;
		else if (l->v[i]->fn == permit)
			return false;
	return false;
}

int restrict_compile(const struct conf *c, struct arena *a, struct restrict_set **out, struct err *e)
{
	struct restrict_set *s = ARENA_NEW(a, struct restrict_set);

	if (compile("smtpd_client_restrictions", c->smtpd_client_restrictions, CLIENT, a, &s->lists[0], e) < 0 ||
	    compile("smtpd_helo_restrictions", c->smtpd_helo_restrictions, HELO, a, &s->lists[1], e) < 0 ||
	    compile("smtpd_sender_restrictions", c->smtpd_sender_restrictions, SENDER, a, &s->lists[2], e) < 0 ||
	    compile("smtpd_relay_restrictions", c->smtpd_relay_restrictions, RCPT, a, &s->lists[3], e) < 0 ||
	    compile("smtpd_recipient_restrictions", c->smtpd_recipient_restrictions, RCPT, a, &s->lists[4], e) < 0)
		return -1;
	if (!is_relay_safe(&s->lists[3]) && !is_relay_safe(&s->lists[4]))
		return err_set(e, ERR_CONF, 0, "smtpd_relay_restrictions or smtpd_recipient_restrictions: one must hold reject_unauth_destination (or reject, defer, "
			       "defer_unauth_destination), else this is an open relay");
	*out = s;
	return 0;
}

static struct str answer_text(const struct rule *r, enum object object, const struct restrict_facts *f, struct arena *a)
{
	static const char *const what[] = { [CLIENT] = "Client host", [HELO] = "Helo command", [SENDER] = "Sender address", [RCPT] = "Recipient address" };
	const struct str on[] = { [CLIENT] = f->client, [HELO] = f->helo, [SENDER] = f->sender, [RCPT] = f->recipient };
	char *s;

	if (r->object == RELAY)
		s = arena_printf(a, "<%.*s>: %s", STR_ARG(f->recipient), r->text);
	else if (object == CLIENT)
		s = arena_printf(a, "<unknown[%.*s]>: %s rejected: %s", STR_ARG(f->client), what[object], r->text);
	else
		s = arena_printf(a, "<%.*s>: %s rejected: %s", STR_ARG(on[object]), what[object], r->text);
	return str_c(s);
}

bool restrict_refuses(const struct restrict_set *set, const struct restrict_facts *f, struct arena *a, struct restrict_answer *out)
{
	for (size_t k = 0; k < LISTS; k++) {
		const struct restrict_list *l = &set->lists[k];
		for (size_t i = 0; i < l->n; i++) {
			const struct rule *r = l->v[i];
			const enum verdict v = r->fn(f);
			if (v == PERMIT)
				break;
			if (v == DUNNO)
				continue;
			out->code = r->code;
			out->enhanced = r->enhanced;
			out->text = answer_text(r, r->object == LIST ? l->object : r->object, f, a);
			return true;
		}
	}
	return false;
}
