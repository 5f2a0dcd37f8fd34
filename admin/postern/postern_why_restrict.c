/* postern why --client: would this client be let in with mail for the address? The restriction lists are evaluated by the server's own code, tables and addresses are looked
 * up as resolve does; names and policy services are not asked, which is said. */
#include "admin/postern/postern_why.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "log/log.h"

enum { FACTS_MAX = 1000 };

struct source {
	struct resolver *resolver;
	struct arena *a;
	struct why_judgement *out;
	struct { struct fact_key key; struct fact fact; } facts[FACTS_MAX];
	size_t n;
};

static void note(struct source *s, struct str text)
{
	if (s->out->n_notes < WHY_NOTES_MAX)
		s->out->notes[s->out->n_notes++] = text;
}

static struct str *one(struct arena *a, struct str v)
{
	struct str *p = ARENA_NEW(a, struct str);

	*p = arena_str(a, v);
	return p;
}

static struct fact look_up(struct source *s, const struct fact_key *k)
{
	struct ipc_resolve_VALUE v;

	resolver_lookup(s->resolver, s->a, k->subject, k->key, (enum access_how)k->arg, &v);
	if (v.found == 2) {
		note(s, str_c(arena_printf(s->a, "trouble: %.*s: %.*s", STR_ARG(k->subject), STR_ARG(v.value))));
		return (struct fact){ .state = FACT_TROUBLE, .why = v.value };
	}
	if (v.found == 0) {
		note(s, str_c(arena_printf(s->a, "%.*s: nothing for \"%.*s\"", STR_ARG(k->subject), STR_ARG(k->key))));
		return (struct fact){ .state = FACT_NONE };
	}
	note(s, str_c(arena_printf(s->a, "%.*s: \"%.*s\" is %.*s", STR_ARG(k->subject), STR_ARG(v.key.n ? v.key : k->key), STR_ARG(v.value))));
	return (struct fact){ .state = FACT_HAS, .v = one(s->a, v.value), .n = 1 };
}

/* Class, then the accounts that the address leads to. */
static struct fact classify_address(struct source *s, const struct fact_key *k)
{
	struct ipc_resolve_RESULT r;

	resolver_answer(s->resolver, s->a, k->key, false, &r);
	struct str *v = ARENA_ARRAY(s->a, struct str, r.users.n + 1);
	size_t n = 0;
	v[n++] = r.class;
	for (size_t i = 0; i < r.users.n; i++)
		if (str_eq(r.kinds.v[i], STR("mailbox")))
			v[n++] = r.users.v[i];
	return (struct fact){ .state = FACT_HAS, .v = v, .n = n };
}

static const struct fact *get(void *ctx, const struct fact_key *k)
{
	struct source *s = ctx;
	struct fact f = { .state = FACT_NONE };

	for (size_t i = 0; i < s->n; i++)
		if (s->facts[i].key.kind == k->kind && s->facts[i].key.arg == k->arg && str_eq(s->facts[i].key.subject, k->subject) && str_eq(s->facts[i].key.key, k->key))
			return &s->facts[i].fact;
	if (s->n == FACTS_MAX)
		return NULL;
	if (k->kind == FACT_MAP)
		f = look_up(s, k);
	else if (k->kind == FACT_CLASS)
		f = classify_address(s, k);
	else if (k->kind == FACT_SLEEP)
		f.state = FACT_HAS;
	else
		note(s, str_c(arena_printf(s->a, "not asked, taken for no answer: %s %.*s",
					   k->kind == FACT_DNS ? "the name" : k->kind == FACT_VERIFY ? "whether there is" : "policy service",
					   STR_ARG(k->kind == FACT_POLICY ? k->subject : k->key))));
	s->facts[s->n].key = (struct fact_key){ .kind = k->kind, .arg = k->arg, .subject = arena_str(s->a, k->subject), .key = arena_str(s->a, k->key) };
	s->facts[s->n].fact = f;
	return &s->facts[s->n++].fact;
}

static int add_tables(struct resolver *r, const struct restrict_set *set, struct err *e)
{
	const char *spec;
	size_t it = 0;

	while (restrict_table_next(set, &it, &spec))
		if (resolver_table_add(r, spec, e) < 0)
			return -1;
	return 0;
}

static bool in_mynetworks(const struct conf *c, const uint8_t addr[16])
{
	struct cidr *nets = xzalloc((c->mynetworks.n + 1) * sizeof(*nets));
	struct err e = { 0 };
	size_t n = 0;

	for (size_t i = 0; i < c->mynetworks.n; i++)
		n += cidr_parse(str_c(c->mynetworks.v[i]), &nets[n], &e) == 0;
	const bool in = cidr_match(nets, n, addr);
	free(nets);
	return in;
}

int why_judge(const struct conf *c, struct resolver *r, const struct why_client *who, struct str recipient, struct str class, struct arena *a, struct why_judgement *out,
	      struct err *e)
{
	struct source *s = ARENA_NEW(a, struct source);
	struct restrict_set *set;
	struct restrict_facts f = {
		.secure = true, .esmtp = true, .addr_known = true, .client = who->client, .helo = who->helo.n ? who->helo : STR("client.example"), .sender = who->sender,
		.recipient = recipient, .user = who->login.n > 0, .login = who->login, .class = class, .recipients = 1,
	};

	*out = (struct why_judgement){ 0 };
	*s = (struct source){ .resolver = r, .a = a, .out = out };
	if (addr_parse(who->client, f.addr) < 0)
		return err_set(e, ERR_INPUT, 0, "\"%.*s\" is no address of a client", STR_ARG(who->client));
	f.mynetworks = in_mynetworks(c, f.addr);
	if (restrict_compile(c, a, &set, e) < 0 || add_tables(r, set, e) < 0)
		return -1;
	note(s, str_c(arena_printf(a, "the client is %sin mynetworks", f.mynetworks ? "" : "not ")));
	const struct fact_source source = { get, s };
	restrict_evaluate(set, RESTRICT_RCPT, &f, &source, a, &out->answer);
	return 0;
}

void why_print_judgement(const struct why_client *who, const struct why_judgement *j)
{
	printf("  from %.*s, sender <%.*s>:\n", STR_ARG(who->client), STR_ARG(who->sender));
	for (size_t i = 0; i < j->n_notes; i++)
		printf("      %.*s\n", STR_ARG(j->notes[i]));
	if (j->answer.result == RESTRICT_REFUSED)
		printf("    refused: %d %s %.*s\n", j->answer.code, j->answer.enhanced, STR_ARG(j->answer.text));
	else
		printf("    the restrictions let it in\n");
}

void why_json_judgement(const struct why_judgement *j)
{
	json_name(stdout, "restrictions", false);
	putchar('{');
	json_bool(stdout, "refused", j->answer.result == RESTRICT_REFUSED, true);
	if (j->answer.result == RESTRICT_REFUSED) {
		json_number(stdout, "code", j->answer.code, false);
		json_field(stdout, "enhanced", str_c(j->answer.enhanced), false);
		json_field(stdout, "text", j->answer.text, false);
	}
	json_name(stdout, "notes", false);
	putchar('[');
	for (size_t i = 0; i < j->n_notes; i++) {
		fputs(i ? ", " : "", stdout);
		json_string(stdout, j->notes[i]);
	}
	fputs("]}", stdout);
}
