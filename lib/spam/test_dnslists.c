/* DNS lists: which names are asked for, and which rules the answers make true. The DNS is a table. */
#include "spam/test_spam.h"

static const struct record { const char *name; unsigned type; const char *data; } zone[] = {
	{ "9.113.0.203.zen.test", 1, "127.0.0.2" }, { "9.113.0.203.zen.test", 1, "127.0.0.10" }, { "7.2.0.192.zen.test", 1, "127.0.0.4" },
	{ "9.113.0.203.odd.test", 1, "198.51.100.1" }, { "9.113.0.203.words.test", 16, "Listed by Spamcop, see x" }, { "9.113.0.203.mask.test", 1, "127.0.0.12" },
	{ "bad.example.hosts.test", 1, "127.0.1.4" }, { "www.bad.example.full.test", 1, "127.0.0.64" }, { "bad.example.org.test", 1, "127.0.0.6" },
	{ "9.2.0.192.hosts.test", 1, "127.0.0.2" }, { "bad.example", 2, "ns.far.example" }, { "ns.far.example", 1, "198.51.100.53" }, { "www.bad.example", 1, "198.51.100.80" },
	{ "53.100.51.198.servers.test", 1, "127.0.0.2" }, { "80.100.51.198.servers.test", 1, "127.0.0.3" }, { "forged.example.senders.test", 1, "127.0.0.2" },
	{ "mail.forged.example.exact.test", 1, "127.0.0.2" }, { "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.zen.test", 1, "127.0.0.2" },
};

struct asked { struct buf names; size_t n, rounds; bool mute; };

static void on_ask(void *ctx, struct arena *a, struct spam_question *q, size_t n)
{
	struct asked *k = ctx;
	k->rounds++;
	for (size_t i = 0; i < n; i++) {
		struct str *v = ARENA_ARRAY(a, struct str, ARRAY_LEN(zone));
		k->n++;
		buf_printf(&k->names, "%u %.*s\n", q[i].type, STR_ARG(q[i].name));
		for (size_t z = 0; z < ARRAY_LEN(zone) && !k->mute; z++)
			if (zone[z].type == q[i].type && str_eq(str_c(zone[z].name), q[i].name))
				v[q[i].n++] = str_c(zone[z].data);
		q[i].records = v;
	}
}

#define RELAYS "Received: from mx.far.example (mx.far.example [203.0.113.9]) by mx.us.example (Postfix) with ESMTP id A; Thu, 22 Aug 2002 18:26:25 +0000\n" \
	"Received: from pc (pc.far.example [192.0.2.7]) by mx.far.example (Postfix) with ESMTP id B; Thu, 22 Aug 2002 18:26:20 +0000\n"
#define LINK RELAYS "From: a@mail.forged.example\nSubject: x\n\nsee http://www.bad.example/x and http://192.0.2.9/y\n"
#define TRUSTED "internal_networks 127.0.0.1\ntrusted_networks "
#define ZEN "header ZEN eval:check_rbl('zen', 'zen.test.')\n"

static const struct { const char *rules, *message, *hits, *asked; } rows[] = {
	{ ZEN, LINK, "ZEN", "1 7.2.0.192.zen.test\n1 9.113.0.203.zen.test\n" },
	{ "header A eval:check_rbl('z-lastexternal', 'zen.test.')\n", LINK, "A", "1 9.113.0.203.zen.test\n" },
	{ "header A eval:check_rbl('z-notfirsthop', 'zen.test', '^127\\.0\\.0\\.4$')\n", LINK, "", "1 9.113.0.203.zen.test\n" },
	{ "header A eval:check_rbl('z-untrusted', 'zen.test.')\n", LINK, "A", "1 7.2.0.192.zen.test\n" },
	{ TRUSTED "203.0.113.9\nheader A eval:check_rbl('z-lastexternal', 'zen.test.')\nheader B eval:check_rbl('y-lastexternal', 'odd.test.')\ntflags B nice\n", LINK, "",
	  "1 9.113.0.203.odd.test\n" },
	{ TRUSTED "203.0.113.9 192.0.2.7\nheader A eval:check_rbl('z-lastexternal', 'zen.test.')\ntflags A nice\n", LINK, "", "" },
	{ ZEN "header A eval:check_rbl_sub('zen', '127.0.0.10')\nheader B eval:check_rbl_sub('zen', '127.0.0.1')\n", LINK, "A ZEN", NULL },
	{ ZEN "header A eval:check_rbl_sub('zen', '^127\\.0\\.0\\.[23]$')\n", LINK, "A ZEN", NULL },
	{ "header A eval:check_rbl('m-lastexternal', 'mask.test.', '8')\nheader B eval:check_rbl_sub('m-lastexternal', '2')\n", LINK, "A", NULL },
	{ "header A eval:check_rbl('o', 'odd.test.')\n", LINK, "", NULL },
	{ "header A eval:check_rbl_txt('w', 'words.test.', '(?i:spamcop)')\nheader B eval:check_rbl_txt('w', 'words.test.', 'other')\n", LINK, "A", NULL },
	{ "header A eval:check_rbl_from_domain('s', 'senders.test.')\nheader B eval:check_rbl_from_host('h', 'exact.test.')\n", LINK, "A B", NULL },
	{ "header A eval:check_rbl_from_host('h', 'exact.test.')\n", "From: a@mail.forged.nosuchplace\nSubject: x\n\nx\n", "", "" },
	{ "header A eval:check_rbl_from_host('z', 'zen.test.')\n", "From: a@203.0.113.9\nSubject: x\n\nx\n", "A", "1 9.113.0.203.zen.test\n" },
	{ "header A eval:check_rbl_from_host('h', 'exact.test.')\n", "From: a@b.example\nResent-From: c@mail.forged.example\nSubject: x\n\nx\n", "A",
	  "1 mail.forged.example.exact.test\n" },
	{ "header A eval:check_rbl_envfrom('s', 'senders.test.')\n", "Return-Path: <x@forged.example>\nSubject: x\n\nx\n", "A", "1 forged.example.senders.test\n" },
	{ "urirhssub A hosts.test. A 4\nbody A eval:check_uridnsbl('A')\nurirhssub B hosts.test. A 127.0.1.4\nbody B eval:check_uridnsbl('B')\n"
	  "urirhssub C hosts.test. A 127.0.1.2-127.0.1.9\nbody C eval:check_uridnsbl('C')\nurirhssub D hosts.test. A 127.0.1.5\nbody D eval:check_uridnsbl('D')\n",
	  LINK, "A B C", "1 9.2.0.192.hosts.test\n1 bad.example.hosts.test\n" },
	{ "urirhssub A full.test. A 64\nbody A eval:check_uridnsbl('A')\ntflags A net notrim domains_only\n", LINK, "A", "1 www.bad.example.full.test\n" },
	{ "urirhsbl A hosts.test. A\nbody A eval:check_uridnsbl('A')\ntflags A net ips_only\n", LINK, "A", "1 9.2.0.192.hosts.test\n" },
	{ "uridnsbl A servers.test. A\nbody A eval:check_uridnsbl('A')\ntflags A net domains_only\n", LINK, "A",
	  "1 53.100.51.198.servers.test\n1 ns.far.example\n2 bad.example\n" },
	{ "uridnssub A servers.test. A 127.0.0.3\nbody A eval:check_uridnsbl('A')\ntflags A net a domains_only\n", LINK, "A",
	  "1 80.100.51.198.servers.test\n1 www.bad.example\n" },
	{ "urirhsbl A hosts.test. A\nbody A eval:check_uridnsbl('A')\nuridnsbl_skip_domain bad.example\ntflags A net domains_only\n", LINK, "", "" },
	{ ZEN "score ZEN 1 0 1 0\n", LINK, "", "" },
	{ ZEN "score ZEN 0 1.5 0 0\nmeta M ZEN && !local_tests_only\n", LINK, "M ZEN", NULL },
	{ ZEN "skip_rbl_checks 1\n", LINK, "", "" },
	{ "urirhsbl A hosts.test. A\nbody A eval:check_uridnsbl('A')\nskip_uribl_checks 1\n", LINK, "", "" },
	{ ZEN, "Received: from a (b [2001:db8::1]) by mx.us.example (Postfix) with ESMTP id A; Thu, 22 Aug 2002 18:26:25 +0000\nSubject: x\n\nx\n", "ZEN", NULL },
	{ ZEN, "Received: from a (b [10.0.0.7]) by mx.us.example (Postfix) with ESMTP id A; Thu, 22 Aug 2002 18:26:25 +0000\nSubject: x\n\nx\n", "", "" },
};

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Its lines, sorted. */
static const char *sorted(struct arena *a, struct buf *b)
{
	char *v[300], *out = arena_alloc(a, b->n + 1);
	size_t n = 0, at = 0;
	for (struct str rest = buf_view(b); rest.n > 0 && n < ARRAY_LEN(v);)
		v[n++] = arena_cstr(a, str_split(&rest, '\n'));
	qsort(v, n, sizeof(*v), by_text);
	for (size_t i = 0; i < n; i++)
		at += (size_t)snprintf(out + at, b->n + 1 - at, "%s\n", v[i]);
	return out;
}

static struct spam *load(const char *rules)
{
	struct told told;
	char text[20000];
	snprintf(text, sizeof(text), "util_rb_tld example\n%s", rules);
	const struct spam_options o = { .rules_dir = NULL, .own_dir = "", .jit = true, .network = true };
	return rules_with(text, &o, &told);
}

static struct spam_result check(const char *rules, const char *message, struct asked *k, struct arena *a)
{
	struct spam *s = load(rules);
	struct spam_result r = { 0 };
	const struct spam_facts facts = { .ask = on_ask, .ask_ctx = k };
	buf_init(&k->names, 100000);
	if (tap_ok(s != NULL, "loads"))
		spam_check(s, a, str_c(message), &facts, 0, &r);
	for (size_t i = 0; i < r.n_hits; i++)
		r.hits[i].name = arena_str(a, r.hits[i].name);
	spam_free(&s);
	return r;
}

static void tables(void)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct arena *a = arena_new(0);
		struct asked k = { .n = 0 };
		struct buf hits;
		const struct spam_result r = check(rows[i].rules, rows[i].message, &k, a);
		buf_init(&hits, 1000);
		buf_c(&hits, "");
		for (size_t h = 0; h < r.n_hits; h++)
			buf_printf(&hits, "%s%.*s", h == 0 ? "" : " ", STR_ARG(r.hits[h].name));
		tap_is_str(hits.p == NULL ? "" : hits.p, rows[i].hits, "row %zu: what is listed", i);
		if (rows[i].asked != NULL)
			tap_is_str(sorted(a, &k.names), rows[i].asked, "row %zu: asks no more", i);
		buf_fini(&hits);
		buf_fini(&k.names);
		arena_free(&a);
	}
}

/* What strangers write decides the names: their number is bounded, and silence makes nothing true. */
static void bounds(void)
{
	struct arena *a = arena_new(0);
	struct asked k = { .n = 0 }, mute = { .mute = true };
	struct buf m, rules;
	buf_init(&m, 1000000);
	buf_init(&rules, 100000);
	for (unsigned i = 0; i < 100; i++)
		buf_printf(&m, "Received: from a (b [203.0.%u.9]) by mx.us.example (Postfix) with ESMTP id A; Thu, 22 Aug 2002 18:26:25 +0000\n", i + 114);
	buf_c(&m, "From: a@b.example\nSubject: x\n\n");
	for (unsigned i = 0; i < 3000; i++)
		buf_printf(&m, "http://h%u.d%u.example/\n", i, i);
	for (unsigned i = 0; i < 60; i++)
		buf_printf(&rules, "urirhsbl U%u u%u.test. A\nbody U%u eval:check_uridnsbl('U%u')\nheader R%u eval:check_rbl('r%u', 'r%u.test.')\n", i, i, i, i, i, i, i);
	struct spam_result r = check(rules.p, m.p, &k, a);
	tap_ok(k.n == SPAM_QUESTIONS_MAX, "%zu questions at most, whatever the message holds", k.n);
	tap_is_int((long long)r.n_hits, 0, "nothing listed");
	r = check(ZEN "urirhsbl A hosts.test. A\nbody A eval:check_uridnsbl('A')\n", LINK, &mute, a);
	tap_ok(mute.n > 0 && r.n_hits == 0, "no answers: no hits (%zu questions)", mute.n);
	buf_fini(&m);
	buf_fini(&rules);
	buf_fini(&k.names);
	buf_fini(&mute.names);
	arena_free(&a);
}

int main(void)
{
	tables();
	bounds();
	return tap_done();
}
