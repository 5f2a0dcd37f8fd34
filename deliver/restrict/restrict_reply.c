/* What a client hears whom a DNS list names: default_rbl_reply and rbl_reply_maps, with the words of the moment filled in. */
#include <string.h>

#include "base/num.h"
#include "deliver/resolve/resolve.h"
#include "deliver/restrict/restrict_priv.h"
#include "smtp/addr.h"

enum { REPLY_MAX = 4096 };	/* before it is cut to RESTRICT_TEXT_MAX */

struct words {
	const struct ev *ev;
	const struct listing *l;
	struct str code;
};

static struct str name_or(struct str name)
{
	return name.n > 0 ? name : STR("unknown");
}

static struct str address_or(struct str address)
{
	return address.n > 0 ? address : STR("<>");
}

static struct str local_part(struct str address)
{
	const ptrdiff_t at = str_rchr(address, '@');

	return address_or(at < 0 ? address : str_sub(address, 0, (size_t)at));
}

static bool word(void *ctx, struct str name, struct str *out)
{
	const struct words *w = ctx;
	const struct restrict_facts *f = w->ev->f;
	const struct str client = name_or(str_c(w->ev->client_name));
	const struct {
		const char *name;
		struct str value;
	} rows[] = {
		{ "client", str_c(arena_printf(w->ev->a, "%.*s[%.*s]", STR_ARG(client), STR_ARG(f->client))) },
		{ "client_address", f->client },
		{ "client_name", client },
		{ "reverse_client_name", name_or(str_c(w->ev->reverse_name)) },
		{ "helo_name", f->helo },
		{ "rbl_class", str_c(w->l->class) },
		{ "rbl_code", w->code },
		{ "rbl_domain", w->l->domain },
		{ "rbl_reason", w->l->reason },
		{ "rbl_what", w->l->what },
		{ "recipient", address_or(f->recipient) },
		{ "recipient_domain", smtp_domain_of(f->recipient) },
		{ "recipient_name", local_part(f->recipient) },
		{ "sender", address_or(f->sender) },
		{ "sender_domain", smtp_domain_of(f->sender) },
		{ "sender_name", local_part(f->sender) },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (str_eq(name, str_c(rows[i].name))) {
			*out = rows[i].value;
			return true;
		}
	return false;
}

/* "5.7.1", of any class. */
static bool is_enhanced(struct str s)
{
	uint64_t n;

	return s.n >= 5 && (s.p[0] == '4' || s.p[0] == '5') && s.p[1] == '.' && num_parse(str_split(&s, '.'), 4, 5, &n) == 0 &&
	       num_parse(str_split(&s, '.'), 0, 999, &n) == 0 && num_parse(s, 0, 999, &n) == 0;
}

/* Code, enhanced code or not, text. */
static int parse(struct str reply, uint64_t *code, struct str *enhanced, struct str *text, struct err *e)
{
	struct str rest = reply;

	if (num_parse(str_split(&rest, ' '), 400, 599, code) < 0)
		return err_set(e, ERR_CONF, 0, "\"%.*s\" does not begin with $rbl_code or a code from 400 to 599", STR_ARG(str_sub(reply, 0, 100)));
	*text = str_trim(rest);
	*enhanced = str_split(&rest, ' ');
	if (is_enhanced(*enhanced))
		*text = str_trim(rest);
	else
		*enhanced = (struct str){ 0 };
	return text->n > 0 ? 0 : err_set(e, ERR_CONF, 0, "\"%.*s\" has no text", STR_ARG(str_sub(reply, 0, 100)));
}

static enum verdict say(struct ev *ev, const struct item *it, const struct listing *l, struct str template, const char *from)
{
	struct words w = { ev, l, str_c(arena_printf(ev->a, "%d", rule_code(ev, it))) };
	struct str enhanced, text;
	struct err e = { 0 };
	struct buf b;
	uint64_t code;
	enum verdict v;

	buf_init(&b, REPLY_MAX);
	if (conf_late(template, word, &w, &b, &e) < 0 || parse(buf_view(&b), &code, &enhanced, &text, &e) < 0) {
		note(ev, true, "%s: %s", from, e.text);
		v = refuse_whole(ev, 451, "4.3.5", STR("Server configuration error"));
	} else {
		v = refuse_whole(ev, (int)code, enhanced.p ? arena_cstr(ev->a, enhanced) : it->rule->enhanced, arena_str(ev->a, text));
	}
	buf_fini(&b);
	return v;
}

enum verdict refuse_listed(struct ev *ev, const struct item *it, const struct listing *l)
{
	const struct conf *c = ev->set->conf;
	const struct str whole = str_c(it->arg), keys[] = { whole, l->domain };

	for (size_t k = 0; k < (whole.n == l->domain.n ? 1 : 2); k++)
		for (size_t i = 0; i < c->rbl_reply_maps.n; i++) {
			const struct fact *x = want(ev, FACT_MAP, str_c(c->rbl_reply_maps.v[i]), keys[k], ACCESS_WHOLE);
			if (x == NULL)
				return WAIT;
			if (x->state == FACT_HAS)
				return say(ev, it, l, x->v[0], "rbl_reply_maps");
			if (x->state == FACT_TROUBLE)
				note(ev, true, "rbl_reply_maps: %s: %.*s", c->rbl_reply_maps.v[i], STR_ARG(x->why));
		}
	return say(ev, it, l, str_c(c->default_rbl_reply), "default_rbl_reply");
}

int rbl_reply_check(const struct conf *c, struct arena *a, struct err *e)
{
	const struct restrict_facts f = { 0 };
	const struct ev ev = { .f = &f, .a = a, .client_name = "unknown", .reverse_name = "unknown" };
	const struct listing l = { "Client host", STR("192.0.2.1"), STR("list.example"), STR("reason") };
	struct words w = { &ev, &l, STR("554") };
	struct str enhanced, text;
	struct buf b;
	uint64_t code;

	buf_init(&b, REPLY_MAX);
	const int r = conf_late(str_c(c->default_rbl_reply), word, &w, &b, e) < 0 ? -1 : parse(buf_view(&b), &code, &enhanced, &text, e);
	buf_fini(&b);
	return r < 0 ? err_wrap(e, "default_rbl_reply") : 0;
}
