/* Restriction lists: what compiles, and what each restriction decides, from a table of configurations, facts and expected answers. Every case runs twice: with all facts known, and
 * with each fact coming late. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "deliver/restrict/access.h"
#include "deliver/resolve/resolve.h"
#include "deliver/restrict/restrict.h"
#include "dns/wire.h"
#include "test/tap.h"

/* --- a source of facts: "A name=value value; MX name=!; map key=value; class address=local joe; policy=action" ---
 * "!" is temporary trouble, "-" is: no such record. A name that is not there does not exist; an address that is not there is foreign. */
struct table {
	const char *facts;
	bool late;
	struct arena *a;
	struct {
		char *text;
		bool told;
	} seen[100];
	size_t n;
	struct fact f[100];
};

static const char *kind_word(const struct fact_key *k)
{
	switch (k->kind) {
	case FACT_DNS: return dns_type_name(k->arg);
	case FACT_MAP: return "map";
	case FACT_CLASS: return "class";
	case FACT_POLICY: return "policy";
	case FACT_VERIFY: return "verify";
	case FACT_SLEEP: return "sleep";
	}
	return "";
}

static void fill(struct table *t, struct str value, struct fact *f)
{
	struct str *v = ARENA_ARRAY(t->a, struct str, 20), word;

	f->state = FACT_HAS;
	if (str_eq(value, STR("!"))) {
		f->state = FACT_TROUBLE;
		f->why = STR("time-out");
		return;
	}
	if (str_eq(value, STR("-"))) {
		f->state = FACT_NONE;
		return;
	}
	f->v = v;
	while (f->n < 20 && value.n > 0) {
		word = str_split(&value, '|');
		v[f->n++] = arena_str(t->a, word);
		if (value.p == NULL)
			break;
	}
}

static void look_up(struct table *t, const struct fact_key *k, struct fact *f)
{
	static const struct str foreign = { "default", 7 };
	struct str rest = str_c(t->facts);
	const char *want = k->kind == FACT_POLICY ? "policy=" : arena_printf(t->a, "%s %.*s=", kind_word(k), STR_ARG(k->key));

	while (rest.p && rest.n > 0) {
		const struct str line = str_trim(str_split(&rest, '\n'));
		if (str_case_starts(line, str_c(want))) {
			fill(t, str_from(line, strlen(want)), f);
			return;
		}
	}
	*f = k->kind == FACT_CLASS ? (struct fact){ FACT_HAS, &foreign, 1, { 0 } } : (struct fact){ .state = k->kind == FACT_DNS ? FACT_NO_NAME : FACT_NONE };
	if (k->kind == FACT_POLICY)
		*f = (struct fact){ .state = FACT_TROUBLE, .why = STR("nobody there") };
}

static const struct fact *get(void *ctx, const struct fact_key *k)
{
	static const struct fact pending = { .state = FACT_PENDING };
	struct table *t = ctx;
	const char *text = arena_printf(t->a, "%d %u %.*s %.*s", (int)k->kind, k->arg, STR_ARG(k->subject), STR_ARG(k->key));
	size_t i;

	for (i = 0; i < t->n && strcmp(t->seen[i].text, text) != 0; i++)
		;
	if (i == t->n) {
		if (t->n == ARRAY_LEN(t->seen))
			return NULL;
		t->seen[t->n].text = arena_strdup(t->a, text);
		look_up(t, k, &t->f[t->n++]);
		if (t->late)
			return &pending;
	}
	return &t->f[i];
}

/* --- what compiles --- */

static void test_compile(void)
{
	static const struct {
		const char *name, *conf, *error;	/* error: part of the text; NULL: fine */
	} t[] = {
		{ "the defaults are safe", "", NULL },
		{ "no relay protection at all", "smtpd_relay_restrictions = permit_mynetworks\n", "open relay" },
		{ "permit before it is none", "smtpd_relay_restrictions = permit, reject_unauth_destination\n", "open relay" },
		{ "in the recipient list it counts", "smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination\n", NULL },
		{ "defer_unauth_destination counts", "smtpd_relay_restrictions = defer_unauth_destination\n", NULL },
		{ "a mere warning does not", "smtpd_relay_restrictions = warn_if_reject, reject_unauth_destination\n", "open relay" },
		{ "in a class it counts", "smtpd_relay_restrictions = ours, reject\nsmtpd_restriction_classes = ours\nours = reject_unauth_destination\n", NULL },
		{ "a mistyped word", "smtpd_helo_restrictions = permit_mynetwork\n", "unknown restriction permit_mynetwork; meant is perhaps permit_mynetworks" },
		{ "an unknown word", "smtpd_helo_restrictions = reject_everything\n", "unknown restriction reject_everything" },
		{ "relay_clientcerts that is no table", "relay_clientcerts = joe\n", "relay_clientcerts: \"joe\" is no table" },
		{ "the older name", "smtpd_helo_restrictions = reject_invalid_hostname\n", NULL },
		{ "more older names", "smtpd_helo_restrictions = reject_non_fqdn_hostname, reject_unknown_hostname\nsmtpd_client_restrictions = reject_unknown_client\n", NULL },
		{ "a table", "smtpd_client_restrictions = check_client_access cdb:/etc/x\n", NULL },
		{ "a table without the word before it", "smtpd_sender_restrictions = cdb:/etc/x\n", NULL },
		{ "no table", "smtpd_client_restrictions = check_client_access permit\n", "\"permit\" is no table" },
		{ "nothing after it", "smtpd_client_restrictions = check_client_access\n", "check_client_access needs a word after it" },
		{ "default_rbl_reply without a code", "default_rbl_reply = go away\n", "does not begin with $rbl_code" },
		{ "default_rbl_reply without a text", "default_rbl_reply = $rbl_code 5.7.1\n", "has no text" },
		{ "default_rbl_reply with a name that there is not", "default_rbl_reply = $rbl_code $rbl_text\n", "$rbl_text is not known here" },
		{ "rbl_reply_maps that are no tables", "rbl_reply_maps = /etc/replies\n", "is no table" },
		{ "a DNS list", "smtpd_client_restrictions = reject_rbl_client zen.test=127.0.0.[2..11;13]\n", NULL },
		{ "a DNS list's filter with three parts", "smtpd_client_restrictions = reject_rbl_client zen.test=127.0.0\n", "four parts" },
		{ "a bad filter", "smtpd_client_restrictions = reject_rbl_client zen.test=127.0.0.[9..2]\n", "bad filter" },
		{ "weights", "postscreen_dnsbl_sites = a.test*2, b.test=127.0.0.[1;2]*-3\n", NULL },
		{ "a bad weight", "postscreen_dnsbl_sites = a.test*x\n", "bad weight" },
		{ "a class that is set nowhere", "smtpd_restriction_classes = greylist\n", "greylist is set nowhere" },
		{ "a class with a restriction's name", "smtpd_restriction_classes = permit\n", "permit is a restriction's name" },
		{ "a sleep that is no number", "smtpd_client_restrictions = sleep long\n", "allowed: 0 to 600" },
		{ "a warning of nothing", "smtpd_client_restrictions = warn_if_reject\n", "needs a restriction after it" },
		{ "login maps that are none", "smtpd_sender_login_maps = joe\n", "is no table" },
	};

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		struct conf *c = NULL;
		struct arena *a = arena_new(0);
		struct restrict_set *set = NULL;
		struct err e = { 0 };
		struct buf problems;
		buf_init(&problems, 65536);
		int r = conf_parse(str_c(t[i].conf), "x", &c, &problems, &e);
		if (r == 0)
			r = restrict_compile(c, a, &set, &e);
		else
			err_set(&e, ERR_CONF, 0, "%s", problems.p ? problems.p : "");
		tap_ok(t[i].error ? r < 0 && strstr(e.text, t[i].error) : r == 0, "%s (%s)", t[i].name, e.text);
		buf_fini(&problems);
		arena_free(&a);
		conf_free(&c);
	}
}

/* --- what is decided --- */

enum who { STRANGER, NEIGHBOUR, USER, SECURE, CERTIFIED, VOUCHED };	/* CERTIFIED: shows a certificate; VOUCHED: of an authority */

#define CERT_LISTS "relay_clientcerts = cdb:/c\nsmtpd_relay_restrictions = permit_tls_clientcerts, reject_unauth_destination\n"
#define FIVE_WORDS "permit_mynetworks permit_mynetworks permit_mynetworks permit_mynetworks permit_mynetworks "
#define TEN_WORDS FIVE_WORDS FIVE_WORDS

struct verdict_case {
	const char *name, *conf, *facts;
	enum who who;
	const char *helo, *sender, *rcpt, *class;	/* NULL: a.example, x@y.example, joe@here.example, local */
	const char *want;	/* "ok", or the answer; then " hold", " redirect=…", " +header", " bcc=…", " log: …" */
};

static void put_effects(const struct restrict_answer *r, struct buf *b)
{
	const struct restrict_effects *x = &r->effects;

	if (x->hold.p)
		buf_printf(b, " hold=%.*s", STR_ARG(x->hold));
	if (x->discard.p)
		buf_printf(b, " discard=%.*s", STR_ARG(x->discard));
	if (x->redirect.p)
		buf_printf(b, " redirect=%.*s", STR_ARG(x->redirect));
	for (size_t i = 0; i < x->n_bcc; i++)
		buf_printf(b, " bcc=%.*s", STR_ARG(x->bcc[i]));
	for (size_t i = 0; i < x->n_prepend; i++)
		buf_printf(b, " %.*s", STR_ARG(x->prepend[i]));
	for (size_t i = 0; i < x->n_log; i++)
		buf_printf(b, " log: %.*s", STR_ARG(x->log[i]));
}

static struct str or_else(const char *s, const char *otherwise)
{
	return str_c(s ? s : otherwise);
}

static void run(const struct verdict_case *t, bool late, enum restrict_stage stage)
{
	struct arena *a = arena_new(0);
	struct table table = { .facts = t->facts ? t->facts : "", .late = late, .a = a };
	const struct fact_source src = { get, &table };
	struct restrict_facts f = {
		.mynetworks = t->who == NEIGHBOUR, .user = t->who == USER, .secure = t->who == SECURE, .login = t->who == USER ? STR("joe") : STR(""), .addr_known = true,
		.addr = { [10] = 0xff, 0xff, 192, 0, 2, 1 }, .client = STR("192.0.2.1"), .helo = or_else(t->helo, "a.example"), .sender = or_else(t->sender, "x@y.example"),
		.recipient = or_else(t->rcpt, "joe@here.example"), .class = or_else(t->class, "local"), .recipients = 2, .etrn = STR("etrn.example"),
		.ccert = t->who >= CERTIFIED ? STR("AA:01") : (struct str){ 0 }, .ccert_key = t->who >= CERTIFIED ? STR("BB:02") : (struct str){ 0 },
		.ccert_trusted = t->who == VOUCHED,
	};
	struct restrict_set *set = NULL;
	struct restrict_answer r = { 0 };
	struct conf *c = NULL;
	struct err e = { 0 };
	struct buf b;
	int rounds = 0;

	buf_init(&b, 8192);
	if (conf_parse(str_c(t->conf), "x", &c, NULL, &e) < 0 || restrict_compile(c, a, &set, &e) < 0) {
		tap_ok(false, "%s: %s", t->name, e.text);
		return;
	}
	do
		restrict_evaluate(set, stage, &f, &src, a, &r);
	while (r.result == RESTRICT_WAIT && rounds++ < 200);
	if (r.result == RESTRICT_REFUSED)
		buf_printf(&b, "%d %s %.*s", r.code, r.enhanced, STR_ARG(r.text));
	else
		buf_c(&b, r.result == RESTRICT_PASS ? "ok" : "never ends");
	put_effects(&r, &b);
	tap_is_str(b.p, t->want, "%s%s", t->name, late ? " (facts come late)" : "");
	buf_fini(&b);
	conf_free(&c);
	arena_free(&a);
}

static const struct verdict_case at_rcpt[] = {
	{ "a stranger to us", "", NULL, STRANGER, 0, 0, 0, 0, "ok" },
	{ "a stranger elsewhere", "", NULL, STRANGER, 0, 0, "joe@there.example", "default", "554 5.7.1 <joe@there.example>: Relay access denied" },
	{ "a stranger through us", "", NULL, STRANGER, 0, 0, "a%b@here.example", "routed", "554 5.7.1 <a%b@here.example>: Relay access denied" },
	{ "the code can be chosen, its class goes into the enhanced code", "relay_domains_reject_code = 450\n", NULL, STRANGER, 0, 0, "joe@there.example", "default",
	  "450 4.7.1 <joe@there.example>: Relay access denied" },
	{ "defer_unauth_destination", "smtpd_relay_restrictions = defer_unauth_destination\n", NULL, STRANGER, 0, 0, 0, "default", "454 4.7.1 <joe@here.example>: Relay access denied" },
	{ "permit_mynetworks", "", NULL, NEIGHBOUR, 0, 0, 0, "default", "ok" },
	{ "permit_sasl_authenticated", "", NULL, USER, 0, 0, 0, "default", "ok" },
	{ "permit_auth_destination", "smtpd_recipient_restrictions = permit_auth_destination, reject\n", NULL, STRANGER, 0, 0, 0, "relay", "ok" },
	{ "permit ends its own list only", "smtpd_client_restrictions = permit\nsmtpd_sender_restrictions = reject\n", NULL, STRANGER, 0, 0, 0, 0,
	  "554 5.7.1 <x@y.example>: Sender address rejected: Access denied" },
	{ "defer", "smtpd_helo_restrictions = defer\n", NULL, STRANGER, 0, 0, 0, 0, "450 4.3.2 <a.example>: Helo command rejected: Try again later" },
	{ "unknown here passes the lists", "", NULL, STRANGER, 0, 0, 0, "unknown", "ok" },
	{ "reject_unlisted_recipient", "smtpd_recipient_restrictions = reject_unlisted_recipient\n", NULL, STRANGER, 0, 0, 0, "unknown",
	  "550 5.1.1 <joe@here.example>: Recipient address rejected: User unknown" },
	{ "reject_unverified_recipient: a good one", "smtpd_recipient_restrictions = reject_unverified_recipient\n", "verify joe@here.example=good", STRANGER, 0, 0, 0, 0, "ok" },
	{ "reject_unverified_recipient: a bad one", "smtpd_recipient_restrictions = reject_unverified_recipient\nunverified_recipient_reject_code = 550\n",
	  "verify joe@here.example=bad|host mx said: 550 no", STRANGER, 0, 0, 0, 0,
	  "550 5.1.1 <joe@here.example>: Recipient address rejected: undeliverable address: host mx said: 550 no" },
	{ "reject_unverified_recipient: a bad one, in words of ours",
	  "smtpd_recipient_restrictions = reject_unverified_recipient\nunverified_recipient_reject_reason = nobody there\nunverified_sender_reject_reason = x\n",
	  "verify joe@here.example=bad|host mx said: 550 no", STRANGER, 0, 0, 0, 0, "450 4.1.1 <joe@here.example>: Recipient address rejected: nobody there" },
	{ "reject_unverified_sender: a bad one, in words of ours",
	  "smtpd_sender_restrictions = reject_unverified_sender\nunverified_sender_reject_reason = no answer can be sent to you\n", "verify x@y.example=bad|no",
	  STRANGER, 0, 0, 0, 0, "450 4.1.7 <x@y.example>: Sender address rejected: no answer can be sent to you" },
	{ "reject_unverified_recipient: not known yet", "smtpd_recipient_restrictions = reject_unverified_recipient\n", "verify joe@here.example=!", STRANGER, 0, 0, 0, 0,
	  "450 4.1.1 <joe@here.example>: Recipient address rejected: unverified address: Address verification in progress" },
	{ "reject_unverified_sender: a bad one", "smtpd_sender_restrictions = reject_unverified_sender\n", "verify x@y.example=bad|no", STRANGER, 0, 0, 0, 0,
	  "450 4.1.7 <x@y.example>: Sender address rejected: undeliverable address: no" },
	{ "reject_unlisted_sender", "smtpd_sender_restrictions = reject_unlisted_sender\n", "class x@y.example=unknown", STRANGER, 0, 0, 0, 0,
	  "550 5.1.0 <x@y.example>: Sender address rejected: User unknown" },
	{ "smtpd_reject_unlisted_sender does the same", "smtpd_reject_unlisted_sender = yes\n", "class x@y.example=unknown", STRANGER, 0, 0, 0, 0,
	  "550 5.1.0 <x@y.example>: Sender address rejected: User unknown" },
	{ "reject_invalid_helo_hostname", "smtpd_helo_restrictions = reject_invalid_helo_hostname\n", NULL, STRANGER, "a b", 0, 0, 0, "501 5.5.2 <a b>: Helo command rejected: Invalid name" },
	{ "reject_non_fqdn_helo_hostname", "smtpd_helo_restrictions = reject_non_fqdn_helo_hostname\n", NULL, STRANGER, "desktop", 0, 0, 0,
	  "504 5.5.2 <desktop>: Helo command rejected: need fully-qualified hostname" },
	{ "HELO with an address", "smtpd_helo_restrictions = reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname, reject_unknown_helo_hostname\n", NULL, STRANGER, "[127.0.0.1]", 0, 0,
	  0, "ok" },
	{ "reject_unknown_helo_hostname: none", "smtpd_helo_restrictions = reject_unknown_helo_hostname\n", NULL, STRANGER, 0, 0, 0, 0,
	  "450 4.7.1 <a.example>: Helo command rejected: Host not found" },
	{ "reject_unknown_helo_hostname: an address is enough", "smtpd_helo_restrictions = reject_unknown_helo_hostname\n", "MX a.example=-\nA a.example=192.0.2.7", STRANGER, 0, 0, 0, 0, "ok" },
	{ "reject_non_fqdn_sender", "smtpd_sender_restrictions = reject_non_fqdn_sender\n", NULL, STRANGER, 0, "x@y", 0, 0,
	  "504 5.5.2 <x@y>: Sender address rejected: need fully-qualified address" },
	{ "the null sender is complete", "smtpd_sender_restrictions = reject_non_fqdn_sender, reject_unknown_sender_domain\n", NULL, STRANGER, 0, "", 0, 0, "ok" },
	{ "reject_non_fqdn_recipient", "smtpd_recipient_restrictions = reject_non_fqdn_recipient\n", NULL, STRANGER, 0, 0, "joe", 0,
	  "504 5.5.2 <joe>: Recipient address rejected: need fully-qualified address" },
	{ "postmaster alone is always taken", "smtpd_client_restrictions = reject\nsmtpd_recipient_restrictions = reject\n", NULL, STRANGER, 0, 0, "PostMaster", 0, "ok" },
	{ "but not with a domain", "smtpd_recipient_restrictions = reject\n", NULL, STRANGER, 0, 0, "postmaster@example.com", 0,
	  "554 5.7.1 <postmaster@example.com>: Recipient address rejected: Access denied" },
	{ "postmaster alone is complete", "smtpd_recipient_restrictions = reject_non_fqdn_recipient\n", NULL, STRANGER, 0, 0, "postmaster", 0, "ok" },
	{ "reject_plaintext_session", "smtpd_client_restrictions = reject_plaintext_session\n", NULL, STRANGER, 0, 0, 0, 0,
	  "450 4.7.1 <unknown[192.0.2.1]>: Client host rejected: Session encryption is required" },
	{ "reject_plaintext_session: encrypted", "smtpd_client_restrictions = reject_plaintext_session\n", NULL, SECURE, 0, 0, 0, 0, "ok" },
	{ "reject_unknown_sender_domain: no such name", "smtpd_sender_restrictions = reject_unknown_sender_domain\n", NULL, STRANGER, 0, 0, 0, 0,
	  "450 4.1.8 <x@y.example>: Sender address rejected: Domain not found" },
	{ "reject_unknown_sender_domain: MX", "smtpd_sender_restrictions = reject_unknown_sender_domain\n", "MX y.example=10 mx.y.example", STRANGER, 0, 0, 0, 0, "ok" },
	{ "reject_unknown_sender_domain: only AAAA", "smtpd_sender_restrictions = reject_unknown_sender_domain\n", "MX y.example=-\nAAAA y.example=2001:db8::1", STRANGER, 0, 0, 0, 0, "ok" },
	{ "reject_unknown_sender_domain: neither", "smtpd_sender_restrictions = reject_unknown_sender_domain\n", "MX y.example=-\nA y.example=-\nAAAA y.example=-", STRANGER, 0, 0, 0, 0,
	  "450 4.1.8 <x@y.example>: Sender address rejected: Domain not found" },
	{ "reject_unknown_sender_domain: null MX", "smtpd_sender_restrictions = reject_unknown_sender_domain\n", "MX y.example=0 .", STRANGER, 0, 0, 0, 0,
	  "550 5.7.27 <x@y.example>: Sender address rejected: Domain y.example does not accept mail (nullMX)" },
	{ "reject_unknown_sender_domain: trouble puts off", "smtpd_sender_restrictions = reject_unknown_sender_domain\n", "MX y.example=!", STRANGER, 0, 0, 0, 0,
	  "450 4.4.3 <x@y.example>: Sender address rejected: Domain could not be looked up, try again later" },
	{ "reject_unknown_sender_domain: trouble, but refused for good later", "smtpd_sender_restrictions = reject_unknown_sender_domain\n", "MX y.example=!", STRANGER, 0, 0, 0, "default",
	  "554 5.7.1 <joe@here.example>: Relay access denied" },
	{ "reject_unknown_sender_domain: our own domain", "smtpd_sender_restrictions = reject_unknown_sender_domain\n", "class x@y.example=local|x", STRANGER, 0, 0, 0, 0, "ok" },
	{ "reject_unknown_sender_domain with another code", "smtpd_sender_restrictions = reject_unknown_sender_domain\nunknown_address_reject_code = 550\n", NULL, STRANGER, 0, 0, 0, 0,
	  "550 5.1.8 <x@y.example>: Sender address rejected: Domain not found" },
	{ "reject_unknown_recipient_domain", "smtpd_recipient_restrictions = reject_unknown_recipient_domain\nsmtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n", NULL,
	  NEIGHBOUR, 0, 0, "a@b.example", "default", "450 4.1.2 <a@b.example>: Recipient address rejected: Domain not found" },
	{ "reject_unknown_recipient_domain: null MX", "smtpd_recipient_restrictions = reject_unknown_recipient_domain\n", "MX b.example=0 .", NEIGHBOUR, 0, 0, "a@b.example", "default",
	  "556 5.1.10 <a@b.example>: Recipient address rejected: Domain b.example does not accept mail (nullMX)" },
	{ "reject_unknown_client_hostname: no name", "smtpd_client_restrictions = reject_unknown_client_hostname\n", NULL, STRANGER, 0, 0, 0, 0,
	  "450 4.7.25 <unknown[192.0.2.1]>: Client host rejected: cannot find your hostname, [192.0.2.1]" },
	{ "reject_unknown_client_hostname: verified", "smtpd_client_restrictions = reject_unknown_client_hostname\n", "PTR 1.2.0.192.in-addr.arpa=h.example\nA h.example=192.0.2.9|192.0.2.1", STRANGER,
	  0, 0, 0, 0, "ok" },
	{ "reject_unknown_client_hostname: the name leads elsewhere", "smtpd_client_restrictions = reject_unknown_client_hostname\nunknown_client_reject_code = 550\n",
	  "PTR 1.2.0.192.in-addr.arpa=h.example\nA h.example=192.0.2.9",
	  STRANGER, 0, 0, 0, 0, "550 5.7.25 <unknown[192.0.2.1]>: Client host rejected: cannot find your hostname, [192.0.2.1]" },
	{ "reject_unknown_client_hostname: trouble is never for good", "smtpd_client_restrictions = reject_unknown_client_hostname\nunknown_client_reject_code = 550\n",
	  "PTR 1.2.0.192.in-addr.arpa=!", STRANGER, 0, 0, 0, 0, "450 4.7.25 <unknown[192.0.2.1]>: Client host rejected: cannot find your hostname, [192.0.2.1]" },
	{ "reject_unknown_reverse_client_hostname", "smtpd_client_restrictions = reject_unknown_reverse_client_hostname\n", NULL, STRANGER, 0, 0, 0, 0,
	  "450 4.7.25 <unknown[192.0.2.1]>: Client host rejected: cannot find your reverse hostname, [192.0.2.1]" },
	{ "reject_unknown_reverse_client_hostname: it has one", "smtpd_client_restrictions = reject_unknown_reverse_client_hostname\n", "PTR 1.2.0.192.in-addr.arpa=h.example", STRANGER, 0, 0, 0, 0,
	  "ok" },
	{ "a name that is no host name is none", "smtpd_client_restrictions = reject_unknown_reverse_client_hostname\n", "PTR 1.2.0.192.in-addr.arpa=a\\032b.example", STRANGER, 0, 0, 0, 0,
	  "450 4.7.25 <unknown[192.0.2.1]>: Client host rejected: cannot find your reverse hostname, [192.0.2.1]" },
	/* DNS lists */
	{ "reject_rbl_client", "smtpd_client_restrictions = reject_rbl_client bl.test\n", "A 1.2.0.192.bl.test=127.0.0.2\nTXT 1.2.0.192.bl.test=see https://bl.test/1", STRANGER, 0, 0, 0, 0,
	  "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using bl.test; see https://bl.test/1" },
	{ "reject_rbl_client: not listed", "smtpd_client_restrictions = reject_rbl_client bl.test\n", NULL, STRANGER, 0, 0, 0, 0, "ok" },
	{ "reject_rbl_client: an error code is no listing", "smtpd_client_restrictions = reject_rbl_client bl.test\n", "A 1.2.0.192.bl.test=127.255.255.254", STRANGER, 0, 0, 0, 0,
	  "ok log: bl.test answers 127.255.255.254: it refuses to answer us (see its terms of use); ignored" },
	{ "reject_rbl_client: a hijacked answer is no listing", "smtpd_client_restrictions = reject_rbl_client bl.test\n", "A 1.2.0.192.bl.test=203.0.113.1", STRANGER, 0, 0, 0, 0,
	  "ok log: bl.test answers 203.0.113.1: no list's answer; ignored" },
	{ "reject_rbl_client: 127.0.0.1 is no listing", "smtpd_client_restrictions = reject_rbl_client bl.test\n", "A 1.2.0.192.bl.test=127.0.0.1", STRANGER, 0, 0, 0, 0, "ok" },
	{ "reject_rbl_client: trouble lets pass", "smtpd_client_restrictions = reject_rbl_client bl.test\n", "A 1.2.0.192.bl.test=!", STRANGER, 0, 0, 0, 0,
	  "ok log: 1.2.0.192.bl.test: DNS list lookup error: time-out" },
	{ "reject_rbl_client: the filter fits", "smtpd_client_restrictions = reject_rbl_client bl.test=127.0.0.[4..6;9]\n", "A 1.2.0.192.bl.test=127.0.0.2|127.0.0.9", STRANGER, 0, 0, 0, 0,
	  "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using bl.test" },
	{ "reject_rbl_client: the filter does not fit", "smtpd_client_restrictions = reject_rbl_client bl.test=127.0.0.[4..6;9]\n", "A 1.2.0.192.bl.test=127.0.0.2", STRANGER, 0, 0, 0, 0, "ok" },
	{ "reject_rhsbl_sender", "smtpd_sender_restrictions = reject_rhsbl_sender rh.test\n", "A y.example.rh.test=127.0.0.2", STRANGER, 0, 0, 0, 0,
	  "554 5.7.1 Service unavailable; Sender address [x@y.example] blocked using rh.test" },
	{ "reject_rhsbl_recipient", "smtpd_recipient_restrictions = reject_rhsbl_recipient rh.test\n", "A here.example.rh.test=127.0.0.2", STRANGER, 0, 0, 0, 0,
	  "554 5.7.1 Service unavailable; Recipient address [joe@here.example] blocked using rh.test" },
	{ "reject_rhsbl_helo", "smtpd_helo_restrictions = reject_rhsbl_helo rh.test\n", "A a.example.rh.test=127.0.0.2", STRANGER, 0, 0, 0, 0,
	  "554 5.7.1 Service unavailable; Helo command [a.example] blocked using rh.test" },
	{ "reject_rhsbl_client", "smtpd_client_restrictions = reject_rhsbl_client rh.test\n",
	  "PTR 1.2.0.192.in-addr.arpa=h.example\nA h.example=192.0.2.1\nA h.example.rh.test=127.0.0.2", STRANGER, 0, 0, 0, 0,
	  "554 5.7.1 Service unavailable; Client host [h.example] blocked using rh.test" },
	{ "reject_rhsbl_reverse_client needs no verified name", "smtpd_client_restrictions = reject_rhsbl_client rh.test, reject_rhsbl_reverse_client rh.test\n",
	  "PTR 1.2.0.192.in-addr.arpa=h.example\nA h.example.rh.test=127.0.0.2", STRANGER, 0, 0, 0, 0,
	  "554 5.7.1 Service unavailable; Unverified Client host [h.example] blocked using rh.test" },
	{ "permit_dnswl_client", "smtpd_client_restrictions = permit_dnswl_client wl.test, reject\n", "A 1.2.0.192.wl.test=127.0.5.1", STRANGER, 0, 0, 0, 0, "ok" },
	{ "permit_dnswl_client: trouble refuses for now only", "smtpd_client_restrictions = permit_dnswl_client wl.test, reject\n", "A 1.2.0.192.wl.test=!", STRANGER, 0, 0, 0, 0,
	  "450 4.7.1 <unknown[192.0.2.1]>: Client host rejected: defer_if_reject requested log: 1.2.0.192.wl.test: DNS list lookup error: time-out" },
	{ "permit_rhswl_client", "smtpd_client_restrictions = permit_rhswl_client wl.test, reject\n",
	  "PTR 1.2.0.192.in-addr.arpa=h.example\nA h.example=192.0.2.1\nA h.example.wl.test=127.0.5.1", STRANGER, 0, 0, 0, 0, "ok" },
	{ "weights below the threshold", "postscreen_dnsbl_sites = a.test*2 b.test*2 w.test*-2\npostscreen_dnsbl_threshold = 3\n",
	  "A 1.2.0.192.a.test=127.0.0.2\nA 1.2.0.192.b.test=127.0.0.2\nA 1.2.0.192.w.test=127.0.0.2", STRANGER, 0, 0, 0, 0, "ok" },
	{ "weights above the threshold", "postscreen_dnsbl_sites = a.test*2 b.test=127.0.0.[2..3]*3 w.test*-2\npostscreen_dnsbl_threshold = 3\n",
	  "A 1.2.0.192.a.test=127.0.0.2\nA 1.2.0.192.b.test=127.0.0.3", STRANGER, 0, 0, 0, 0,
	  "550 5.7.1 Service unavailable; client [192.0.2.1] blocked using b.test log: DNSBL rank 5 for [192.0.2.1]" },
	{ "weights: drop", "postscreen_dnsbl_sites = a.test\npostscreen_dnsbl_action = drop\n", "A 1.2.0.192.a.test=127.0.0.2", STRANGER, 0, 0, 0, 0,
	  "521 5.7.1 Service unavailable; client [192.0.2.1] blocked using a.test log: DNSBL rank 1 for [192.0.2.1]" },
	{ "weights: ignore", "postscreen_dnsbl_sites = a.test\npostscreen_dnsbl_action = ignore\n", "A 1.2.0.192.a.test=127.0.0.2", STRANGER, 0, 0, 0, 0,
	  "ok log: DNSBL rank 1 for [192.0.2.1]" },
	{ "weights are not for users", "postscreen_dnsbl_sites = a.test\n", "A 1.2.0.192.a.test=127.0.0.2", USER, 0, 0, 0, 0, "ok" },
	/* ours by name */
	{ "permit_inet_interfaces", "smtpd_client_restrictions = permit_inet_interfaces, reject\n", "class postmaster@[192.0.2.1]=local", STRANGER, 0, 0, 0, 0, "ok" },
	{ "permit_mx_backup", "smtpd_relay_restrictions = permit_mx_backup, reject_unauth_destination\n",

	    "MX b.example=10 mx.b.example|20 me.example\nA mx.b.example=192.0.2.50\nAAAA mx.b.example=-\n"
	  "A me.example=192.0.2.99\nAAAA me.example=-\nclass postmaster@[192.0.2.99]=local", STRANGER, 0, 0,
	  "a@b.example", "default", "ok" },
	{ "permit_mx_backup: not us", "smtpd_relay_restrictions = permit_mx_backup, reject_unauth_destination\n", "MX b.example=10 mx.b.example\nA mx.b.example=192.0.2.50", STRANGER, 0, 0,
	  "a@b.example", "default", "554 5.7.1 <a@b.example>: Relay access denied" },
	/* putting off */
	{ "defer_if_permit", "smtpd_client_restrictions = defer_if_permit\n", NULL, STRANGER, 0, 0, 0, 0, "450 4.7.1 <unknown[192.0.2.1]>: Client host rejected: defer_if_permit requested" },
	{ "defer_if_permit, refused for good", "smtpd_client_restrictions = defer_if_permit\n", NULL, STRANGER, 0, 0, 0, "default", "554 5.7.1 <joe@here.example>: Relay access denied" },
	{ "defer_if_reject", "smtpd_client_restrictions = defer_if_reject\n", NULL, STRANGER, 0, 0, 0, "default", "450 4.7.1 <unknown[192.0.2.1]>: Client host rejected: defer_if_reject requested" },
	{ "defer_if_reject, accepted", "smtpd_client_restrictions = defer_if_reject\n", NULL, STRANGER, 0, 0, 0, 0, "ok" },
	{ "warn_if_reject", "smtpd_client_restrictions = warn_if_reject reject\n", NULL, STRANGER, 0, 0, 0, 0,
	  "ok log: reject_warning: 554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied" },
	{ "sleep", "smtpd_client_restrictions = sleep 5, reject\n", NULL, STRANGER, 0, 0, 0, 0, "554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied" },
	/* classes */
	{ "a class", "smtpd_restriction_classes = strict\nstrict = reject_non_fqdn_sender, reject\nsmtpd_recipient_restrictions = strict\n", NULL, STRANGER, 0, "x@y", 0, 0,
	  "504 5.5.2 <x@y>: Sender address rejected: need fully-qualified address" },
	{ "a table may name a class", "smtpd_restriction_classes = strict\nstrict = reject\nsmtpd_recipient_restrictions = check_recipient_access cdb:/x\n", "map joe@here.example=strict", STRANGER, 0, 0,
	  0, 0, "554 5.7.1 <joe@here.example>: Recipient address rejected: Access denied" },
	{ "a class that names itself ends", "smtpd_restriction_classes = round\nround = round\nsmtpd_recipient_restrictions = round\n", NULL, STRANGER, 0, 0, 0, 0,
	  "451 4.3.5 Server configuration error" },
	/* login and sender */
	{ "reject_sender_login_mismatch: by the map", "smtpd_sender_restrictions = reject_sender_login_mismatch\nsmtpd_sender_login_maps = cdb:/l\n", "map x@y.example=ann, joe", USER, 0, 0, 0, 0, "ok" },
	{ "reject_sender_login_mismatch: by what is delivered to the user", "smtpd_sender_restrictions = reject_sender_login_mismatch\n", "class x@y.example=local|ann|joe", USER, 0, 0, 0, 0, "ok" },
	{ "reject_sender_login_mismatch: somebody else's", "smtpd_sender_restrictions = reject_sender_login_mismatch\nsmtpd_sender_login_maps = cdb:/l\n", "map x@y.example=ann", USER, 0, 0, 0, 0,
	  "553 5.7.1 <x@y.example>: Sender address rejected: not owned by user joe" },
	{ "reject_sender_login_mismatch: nobody's", "smtpd_sender_restrictions = reject_sender_login_mismatch\n", NULL, USER, 0, 0, 0, 0,
	  "553 5.7.1 <x@y.example>: Sender address rejected: not owned by user joe" },
	{ "reject_sender_login_mismatch: a stranger as one of us", "smtpd_sender_restrictions = reject_sender_login_mismatch\n", "class x@y.example=local|ann", STRANGER, 0, 0, 0, 0,
	  "553 5.7.1 <x@y.example>: Sender address rejected: not logged in" },
	{ "reject_sender_login_mismatch: a stranger as a stranger", "smtpd_sender_restrictions = reject_sender_login_mismatch\n", NULL, STRANGER, 0, 0, 0, 0, "ok" },
	{ "reject_authenticated_sender_login_mismatch leaves strangers alone", "smtpd_sender_restrictions = reject_authenticated_sender_login_mismatch\n", "class x@y.example=local|ann", STRANGER, 0, 0,
	  0, 0, "ok" },
	{ "reject_authenticated_sender_login_mismatch", "smtpd_sender_restrictions = reject_authenticated_sender_login_mismatch\n", "class x@y.example=local|ann", USER, 0, 0, 0, 0,
	  "553 5.7.1 <x@y.example>: Sender address rejected: not owned by user joe" },
	{ "reject_known_sender_login_mismatch: nobody's", "smtpd_sender_restrictions = reject_known_sender_login_mismatch\n", NULL, USER, 0, 0, 0, 0, "ok" },
	{ "reject_known_sender_login_mismatch: somebody's", "smtpd_sender_restrictions = reject_known_sender_login_mismatch\n", "class x@y.example=local|ann", USER, 0, 0, 0, 0,
	  "553 5.7.1 <x@y.example>: Sender address rejected: not owned by user joe" },
	{ "reject_unauthenticated_sender_login_mismatch leaves users alone", "smtpd_sender_restrictions = reject_unauthenticated_sender_login_mismatch\n", NULL, USER, 0, 0, 0, 0, "ok" },
	{ "reject_unauthenticated_sender_login_mismatch", "smtpd_sender_restrictions = reject_unauthenticated_sender_login_mismatch\n", "class x@y.example=local|ann", STRANGER, 0, 0, 0, 0,
	  "553 5.7.1 <x@y.example>: Sender address rejected: not logged in" },
	{ "login maps alone", "smtpd_sender_restrictions = reject_sender_login_mismatch\nsmtpd_sender_login_own = no\n", "class x@y.example=local|joe", USER, 0, 0, 0, 0,
	  "553 5.7.1 <x@y.example>: Sender address rejected: not owned by user joe" },
	{ "trouble with the map is temporary", "smtpd_sender_restrictions = reject_sender_login_mismatch\nsmtpd_sender_login_maps = cdb:/l\n", "map x@y.example=!", USER, 0, 0, 0, 0,
	  "451 4.3.0 <x@y.example>: Temporary lookup failure" },
	/* tables */
	{ "check_client_access: by name", "smtpd_client_restrictions = check_client_access cdb:/x\n", "PTR 1.2.0.192.in-addr.arpa=h.example\nA h.example=192.0.2.1\nmap h.example=REJECT not you",
	  STRANGER, 0, 0, 0, 0, "554 5.7.1 <h.example[192.0.2.1]>: Client host rejected: not you" },
	{ "check_client_access: by address", "smtpd_client_restrictions = check_client_access cdb:/x, reject\n", "map 192.0.2.1=OK", STRANGER, 0, 0, 0, 0, "ok" },
	{ "check_reverse_client_hostname_access", "smtpd_client_restrictions = check_reverse_client_hostname_access cdb:/x\n", "PTR 1.2.0.192.in-addr.arpa=h.example\nmap h.example=REJECT", STRANGER, 0, 0,
	  0, 0, "554 5.7.1 <h.example>: Unverified Client host rejected: Access denied" },
	{ "check_helo_access", "smtpd_helo_restrictions = check_helo_access cdb:/x\n", "map a.example=554 5.7.9 that is me", STRANGER, 0, 0, 0, 0,
	  "554 5.7.9 <a.example>: Helo command rejected: that is me" },
	{ "check_sender_access", "smtpd_sender_restrictions = check_sender_access cdb:/x\n", "map x@y.example=450 later", STRANGER, 0, 0, 0, 0,
	  "450 4.7.1 <x@y.example>: Sender address rejected: later" },
	{ "check_sender_access: the null sender's key", "smtpd_sender_restrictions = check_sender_access cdb:/x\n", "map <>=REJECT no bounces", STRANGER, 0, "", 0, 0,
	  "554 5.7.1 <>: Sender address rejected: no bounces" },
	{ "a table alone is of its list's kind", "smtpd_sender_restrictions = cdb:/x\n", "map x@y.example=REJECT", STRANGER, 0, 0, 0, 0, "554 5.7.1 <x@y.example>: Sender address rejected: Access denied" },
	{ "check_recipient_access: DEFER", "smtpd_recipient_restrictions = check_recipient_access cdb:/x\n", "map joe@here.example=DEFER full", STRANGER, 0, 0, 0, 0,
	  "450 4.7.1 <joe@here.example>: Recipient address rejected: full" },
	{ "check_sasl_access", "smtpd_recipient_restrictions = check_sasl_access cdb:/x\n", "map joe=REJECT suspended", USER, 0, 0, 0, 0,
	  "554 5.7.1 <joe@here.example>: Recipient address rejected: suspended" },
	{ "permit_tls_clientcerts: the certificate", CERT_LISTS, "map AA:01=partner", CERTIFIED, 0, 0, 0, "default", "ok" },
	{ "permit_tls_clientcerts: its public key", CERT_LISTS, "map BB:02=partner", CERTIFIED, 0, 0, 0, "default", "ok" },
	{ "permit_tls_clientcerts: another one, vouched for or not", CERT_LISTS, "map CC:03=partner", VOUCHED, 0, 0, 0, "default", "554 5.7.1 <joe@here.example>: Relay access denied" },
	{ "permit_tls_clientcerts: none was shown", CERT_LISTS, "map AA:01=partner\nmap =partner", STRANGER, 0, 0, 0, "default", "554 5.7.1 <joe@here.example>: Relay access denied" },
	{ "permit_tls_clientcerts: no table to ask, nothing for good", CERT_LISTS, "map AA:01=!", CERTIFIED, 0, 0, 0, "default",
	  "450 4.7.1 <joe@here.example>: Recipient address rejected: defer_if_reject requested log: cdb:/c: time-out" },
	{ "permit_tls_all_clientcerts", "smtpd_relay_restrictions = permit_tls_all_clientcerts, reject_unauth_destination\n", NULL, VOUCHED, 0, 0, 0, "default", "ok" },
	{ "permit_tls_all_clientcerts: nobody vouches for it", "smtpd_relay_restrictions = permit_tls_all_clientcerts, reject_unauth_destination\n", NULL, CERTIFIED, 0, 0, 0, "default",
	  "554 5.7.1 <joe@here.example>: Relay access denied" },
	{ "check_ccert_access", "smtpd_client_restrictions = check_ccert_access cdb:/x\n", "map BB:02=REJECT revoked", CERTIFIED, 0, 0, 0, 0,
	  "554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: revoked" },
	{ "check_ccert_access: the certificate before its key", "smtpd_client_restrictions = check_ccert_access cdb:/x\n", "map AA:01=DUNNO\nmap BB:02=REJECT revoked", CERTIFIED, 0, 0, 0, 0, "ok" },
	{ "check_ccert_access: none", "smtpd_client_restrictions = check_ccert_access cdb:/x\n", "map AA:01=REJECT", STRANGER, 0, 0, 0, 0, "ok" },
	{ "more restrictions than a value may hold are a mistake", "smtpd_recipient_restrictions = check_recipient_access cdb:/x\n",
	  "map joe@here.example=" TEN_WORDS TEN_WORDS TEN_WORDS TEN_WORDS TEN_WORDS "reject", STRANGER, 0, 0, 0, 0,
	  "451 4.3.5 Server configuration error log: cdb:/x: too many restrictions in one value" },
	{ "a table that leads to itself", "smtpd_recipient_restrictions = check_recipient_access cdb:/x\n", "map joe@here.example=check_recipient_access cdb:/x", STRANGER, 0, 0, 0, 0,
	  "451 4.3.5 Server configuration error" },
	/* the codes that can be chosen */
	{ "reject_code", "reject_code = 521\nsmtpd_client_restrictions = reject\n", NULL, STRANGER, 0, 0, 0, 0,
	  "521 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied" },
	{ "defer_code", "defer_code = 421\nsmtpd_client_restrictions = defer\n", NULL, STRANGER, 0, 0, 0, 0,
	  "421 4.3.2 <unknown[192.0.2.1]>: Client host rejected: Try again later" },
	{ "invalid_hostname_reject_code", "invalid_hostname_reject_code = 450\nsmtpd_helo_restrictions = reject_invalid_helo_hostname\n", NULL, STRANGER, "a b", 0, 0, 0,
	  "450 4.5.2 <a b>: Helo command rejected: Invalid name" },
	{ "non_fqdn_reject_code", "non_fqdn_reject_code = 555\nsmtpd_helo_restrictions = reject_non_fqdn_helo_hostname\n", NULL, STRANGER, "desktop", 0, 0, 0,
	  "555 5.5.2 <desktop>: Helo command rejected: need fully-qualified hostname" },
	{ "unknown_hostname_reject_code", "unknown_hostname_reject_code = 550\nsmtpd_helo_restrictions = reject_unknown_helo_hostname\n", NULL, STRANGER, 0, 0, 0, 0,
	  "550 5.7.1 <a.example>: Helo command rejected: Host not found" },
	{ "plaintext_reject_code", "plaintext_reject_code = 554\nsmtpd_client_restrictions = reject_plaintext_session\n", NULL, STRANGER, 0, 0, 0, 0,
	  "554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Session encryption is required" },
	{ "maps_rbl_reject_code", "maps_rbl_reject_code = 550\nsmtpd_client_restrictions = reject_rbl_client bl.test\n", "A 1.2.0.192.bl.test=127.0.0.2", STRANGER, 0, 0, 0, 0,
	  "550 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using bl.test" },
	{ "default_rbl_reply", "default_rbl_reply = 550 5.7.0 $client|$client_address|$reverse_client_name|$helo_name|$rbl_class|$rbl_code|$rbl_domain|$rbl_reason|$rbl_what|"
	  "$recipient|$recipient_domain|$(recipient_name)|${sender}|$sender_domain|$sender_name|$$\nsmtpd_client_restrictions = reject_rbl_client bl.test\n",
	  "A 1.2.0.192.bl.test=127.0.0.2\nTXT 1.2.0.192.bl.test=why $sender", STRANGER, 0, "", 0, 0,
	  "550 5.7.0 unknown[192.0.2.1]|192.0.2.1|unknown|a.example|Client host|554|bl.test|why $sender|192.0.2.1|joe@here.example|here.example|joe|<>||<>|$" },
	{ "default_rbl_reply: with and without a reason", "default_rbl_reply = $rbl_code no${rbl_reason?{: $rbl_reason}:{ reason}} ${sender:nobody}\nmaps_rbl_reject_code = 450\n"
	  "smtpd_client_restrictions = reject_rbl_client bl.test\n", "A 1.2.0.192.bl.test=127.0.0.2", STRANGER, 0, 0, 0, 0, "450 4.7.1 no reason" },
	{ "rbl_reply_maps: the list as it is named", "rbl_reply_maps = texthash:/r\nsmtpd_client_restrictions = reject_rbl_client bl.test=127.0.0.[2..9]\n",
	  "A 1.2.0.192.bl.test=127.0.0.2\nmap bl.test=127.0.0.[2..9]=521 5.9.9 go away\nmap bl.test=555 the domain", STRANGER, 0, 0, 0, 0, "521 5.9.9 go away" },
	{ "rbl_reply_maps: its domain", "rbl_reply_maps = texthash:/r\nsmtpd_client_restrictions = reject_rbl_client bl.test=127.0.0.[2..9]\n",
	  "A 1.2.0.192.bl.test=127.0.0.2\nmap bl.test=555 the domain $rbl_domain", STRANGER, 0, 0, 0, 0, "555 5.7.1 the domain bl.test" },
	{ "rbl_reply_maps: another list", "rbl_reply_maps = texthash:/r\nsmtpd_client_restrictions = reject_rbl_client bl.test\n",
	  "A 1.2.0.192.bl.test=127.0.0.2\nmap other.test=555 the domain", STRANGER, 0, 0, 0, 0, "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using bl.test" },
	{ "rbl_reply_maps: a table that cannot be read refuses in the usual words", "rbl_reply_maps = texthash:/r\nsmtpd_client_restrictions = reject_rbl_client bl.test\n",
	  "A 1.2.0.192.bl.test=127.0.0.2\nmap bl.test=!", STRANGER, 0, 0, 0, 0,
	  "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using bl.test log: rbl_reply_maps: texthash:/r: time-out" },
	{ "rbl_reply_maps: no reply", "rbl_reply_maps = texthash:/r\nsmtpd_client_restrictions = reject_rbl_client bl.test\n", "A 1.2.0.192.bl.test=127.0.0.2\nmap bl.test=go away",
	  STRANGER, 0, 0, 0, 0, "451 4.3.5 Server configuration error log: rbl_reply_maps: \"go away\" does not begin with $rbl_code or a code from 400 to 599" },
	{ "access_map_reject_code", "access_map_reject_code = 550\nsmtpd_sender_restrictions = check_sender_access cdb:/x\n", "map x@y.example=REJECT", STRANGER, 0, 0, 0, 0,
	  "550 5.7.1 <x@y.example>: Sender address rejected: Access denied" },
	{ "access_map_defer_code", "access_map_defer_code = 451\nsmtpd_sender_restrictions = check_sender_access cdb:/x\n", "map x@y.example=DEFER", STRANGER, 0, 0, 0, 0,
	  "451 4.7.1 <x@y.example>: Sender address rejected: Try again later" },
	{ "smtpd_null_access_lookup_key", "smtpd_null_access_lookup_key = nobody\nsmtpd_sender_restrictions = check_sender_access cdb:/x\n", "map nobody=REJECT no bounces", STRANGER, 0, "", 0, 0,
	  "554 5.7.1 <>: Sender address rejected: no bounces" },
	{ "a table that cannot be read", "smtpd_recipient_restrictions = check_recipient_access cdb:/x\n", "map joe@here.example=!", STRANGER, 0, 0, 0, 0,
	  "451 4.3.0 <joe@here.example>: Temporary lookup failure log: cdb:/x: time-out" },
	{ "HOLD, PREPEND, BCC, INFO", "smtpd_client_restrictions = check_client_access cdb:/c\nsmtpd_helo_restrictions = check_helo_access cdb:/x\nsmtpd_sender_restrictions = check_sender_access "
	  "cdb:/x\nsmtpd_recipient_restrictions = check_recipient_access cdb:/x\n",
	  "map 192.0.2.1=HOLD look at this\nmap a.example=PREPEND X-Seen: yes\nmap x@y.example=BCC boss@here.example\nmap joe@here.example=INFO hello", STRANGER, 0, 0, 0, 0,
	  "ok hold=look at this bcc=boss@here.example +X-Seen: yes log: info: hello" },
	{ "REDIRECT", "smtpd_recipient_restrictions = check_recipient_access cdb:/x\n", "map joe@here.example=REDIRECT ann@here.example", STRANGER, 0, 0, 0, 0, "ok redirect=ann@here.example" },
	{ "DISCARD", "smtpd_recipient_restrictions = check_recipient_access cdb:/x, reject\n", "map joe@here.example=DISCARD", STRANGER, 0, 0, 0, 0, "ok discard=triggers DISCARD action" },
	{ "WARN", "smtpd_recipient_restrictions = check_recipient_access cdb:/x\n", "map joe@here.example=WARN odd", STRANGER, 0, 0, 0, 0, "ok log: warn: odd" },
	{ "DEFER_IF_PERMIT in a table", "smtpd_recipient_restrictions = check_recipient_access cdb:/x\n", "map joe@here.example=DEFER_IF_PERMIT 4.2.0 greylisted", STRANGER, 0, 0, 0, 0,
	  "450 4.2.0 <joe@here.example>: Recipient address rejected: greylisted" },
	{ "restrictions in a table", "smtpd_recipient_restrictions = check_recipient_access cdb:/x, reject\n", "map joe@here.example=permit_mynetworks, permit", STRANGER, 0, 0, 0, 0, "ok" },
	{ "an action that is none", "smtpd_recipient_restrictions = check_recipient_access cdb:/x\n", "map joe@here.example=EXPLODE", STRANGER, 0, 0, 0, 0,
	  "451 4.3.5 Server configuration error log: cdb:/x: cdb:/x: unknown restriction EXPLODE" },
	{ "a header that is none", "smtpd_recipient_restrictions = check_recipient_access cdb:/x\n", "map joe@here.example=PREPEND no colon", STRANGER, 0, 0, 0, 0,
	  "451 4.3.5 Server configuration error log: cdb:/x: PREPEND \"no colon\": not what this action needs" },
	{ "check_sender_ns_access: the servers of the domain above", "smtpd_sender_restrictions = check_sender_ns_access cdb:/x\n", "NS y.example=-\nNS example=ns.bad\nmap ns.bad=REJECT bad company", STRANGER,
	  0, 0, 0, 0, "554 5.7.1 <x@y.example>: Sender address rejected: bad company" },
	{ "check_sender_mx_access: by address", "smtpd_sender_restrictions = check_sender_mx_access cdb:/x\n",
	  "MX y.example=10 mx.y.example\nA mx.y.example=127.0.0.1\nAAAA mx.y.example=-\nmap 127.0.0.1=REJECT loopback MX", STRANGER, 0, 0, 0, 0,
	  "554 5.7.1 <x@y.example>: Sender address rejected: loopback MX" },
	{ "check_sender_a_access", "smtpd_sender_restrictions = check_sender_a_access cdb:/x\n", "A y.example=192.0.2.66\nAAAA y.example=-\nmap 192.0.2.66=REJECT", STRANGER, 0, 0, 0, 0,
	  "554 5.7.1 <x@y.example>: Sender address rejected: Access denied" },
	{ "check_sender_mx_access cannot permit", "smtpd_sender_restrictions = check_sender_mx_access cdb:/x, reject\n", "MX y.example=10 mx.y.example\nmap mx.y.example=OK", STRANGER, 0, 0, 0, 0,
	  "554 5.7.1 <x@y.example>: Sender address rejected: Access denied log: check_sender_mx_access: cdb:/x: OK is not possible here, taken for DUNNO" },
	{ "check_helo_mx_access", "smtpd_helo_restrictions = check_helo_mx_access cdb:/x\n", "MX a.example=10 mx.bad\nmap mx.bad=REJECT", STRANGER, 0, 0, 0, 0,
	  "554 5.7.1 <a.example>: Helo command rejected: Access denied" },
	{ "check_helo_ns_access", "smtpd_helo_restrictions = check_helo_ns_access cdb:/x\n", "NS a.example=ns.bad\nmap ns.bad=REJECT", STRANGER, 0, 0, 0, 0,
	  "554 5.7.1 <a.example>: Helo command rejected: Access denied" },
	{ "check_helo_a_access", "smtpd_helo_restrictions = check_helo_a_access cdb:/x\n", "A a.example=192.0.2.66\nAAAA a.example=-\nmap 192.0.2.66=REJECT", STRANGER, 0, 0, 0, 0,
	  "554 5.7.1 <a.example>: Helo command rejected: Access denied" },
	{ "check_recipient_mx_access", "smtpd_recipient_restrictions = check_recipient_mx_access cdb:/x\n", "MX here.example=10 mx.bad\nmap mx.bad=REJECT", STRANGER, 0, 0, 0, 0,
	  "554 5.7.1 <joe@here.example>: Recipient address rejected: Access denied" },
	{ "check_recipient_ns_access", "smtpd_recipient_restrictions = check_recipient_ns_access cdb:/x\n", "NS here.example=ns.bad\nmap ns.bad=REJECT", STRANGER, 0, 0, 0, 0,
	  "554 5.7.1 <joe@here.example>: Recipient address rejected: Access denied" },
	{ "check_recipient_a_access", "smtpd_recipient_restrictions = check_recipient_a_access cdb:/x\n", "A here.example=192.0.2.66\nAAAA here.example=-\nmap 192.0.2.66=REJECT", STRANGER, 0, 0, 0, 0,
	  "554 5.7.1 <joe@here.example>: Recipient address rejected: Access denied" },
	{ "check_client_a_access, _ns_, _mx_: no name, nothing to ask", "smtpd_client_restrictions = check_client_a_access cdb:/x, check_client_ns_access cdb:/x, check_client_mx_access cdb:/x\n", NULL,
	  STRANGER, 0, 0, 0, 0, "ok" },
	{ "check_client_ns_access", "smtpd_client_restrictions = check_client_ns_access cdb:/x\n",
	  "PTR 1.2.0.192.in-addr.arpa=h.example\nA h.example=192.0.2.1\nNS h.example=ns.bad\nmap ns.bad=REJECT", STRANGER, 0, 0, 0, 0,
	  "554 5.7.1 <h.example[192.0.2.1]>: Client host rejected: Access denied" },
	{ "check_reverse_client_hostname_a_access, _ns_, _mx_",
	  "smtpd_client_restrictions = check_reverse_client_hostname_a_access cdb:/x, check_reverse_client_hostname_ns_access cdb:/x, "
	  "check_reverse_client_hostname_mx_access cdb:/x\n",
	  "PTR 1.2.0.192.in-addr.arpa=h.example\nA h.example=192.0.2.66\nAAAA h.example=-\nMX h.example=10 mx.bad\nmap mx.bad=REJECT", STRANGER, 0, 0, 0, 0,
	  "554 5.7.1 <h.example>: Unverified Client host rejected: Access denied" },
	/* policy */
	{ "check_policy_service", "smtpd_recipient_restrictions = check_policy_service unix:/run/x\n", "policy=DEFER_IF_PERMIT greylisted", STRANGER, 0, 0, 0, 0,
	  "450 4.7.1 <joe@here.example>: Recipient address rejected: greylisted" },
	{ "check_policy_service that fails", "smtpd_recipient_restrictions = check_policy_service unix:/run/x\n", NULL, STRANGER, 0, 0, 0, 0,
	  "451 4.3.5 <joe@here.example>: Recipient address rejected: Server configuration problem log: policy service unix:/run/x: nobody there" },
	{ "check_policy_service that fails, but must not", "smtpd_recipient_restrictions = check_policy_service unix:/run/x\nsmtpd_policy_service_default_action = DUNNO\n", NULL, STRANGER, 0, 0, 0, 0,
	  "ok log: policy service unix:/run/x: nobody there" },
	{ "without smtpd_delay_reject the first lists are not asked here", "smtpd_delay_reject = no\nsmtpd_client_restrictions = reject\n", NULL, STRANGER, 0, 0, 0, 0, "ok" },
};

static const struct {
	enum restrict_stage stage;
	struct verdict_case c;
} at_others[] = {
	{ RESTRICT_MAIL, { "without smtpd_delay_reject they are asked at MAIL", "smtpd_delay_reject = no\nsmtpd_client_restrictions = reject\n", NULL, STRANGER, 0, 0, 0, 0,
			   "554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied" } },
	{ RESTRICT_DATA, { "reject_multi_recipient_bounce", "smtpd_data_restrictions = reject_multi_recipient_bounce\n", NULL, STRANGER, 0, "", 0, 0,
			   "550 5.5.3 <DATA>: Data command rejected: Multi-recipient bounce" } },
	{ RESTRICT_DATA, { "reject_multi_recipient_bounce: no bounce", "smtpd_data_restrictions = reject_multi_recipient_bounce, reject_unauth_pipelining\n", NULL, STRANGER, 0, 0, 0, 0, "ok" } },
	{ RESTRICT_END, { "at the end of the message", "smtpd_end_of_data_restrictions = check_policy_service unix:/x\n", "policy=REJECT too much", STRANGER, 0, 0, 0, 0,
			  "554 5.7.1 <END-OF-MESSAGE>: End-of-data rejected: too much" } },
	{ RESTRICT_ETRN, { "check_etrn_access", "smtpd_etrn_restrictions = check_etrn_access cdb:/x, reject\n", "map etrn.example=REJECT no", STRANGER, 0, 0, 0, 0,
			   "554 5.7.1 <etrn.example>: Etrn command rejected: no" } },
};

/* --- access(5) --- */

static void test_access(void)
{
	static const struct {
		const char *in;
		int kind, code;
		const char *enhanced, *text;	/* kind -1: refused */
	} t[] = {
		{ "OK", ACCESS_OK, 0, "", "" }, { "ok", ACCESS_OK, 0, "", "" }, { "1234567", ACCESS_OK, 0, "", "" }, { "200", ACCESS_OK, 0, "", "" }, { "RELAY", ACCESS_OK, 0, "", "" },
		{ "DUNNO", ACCESS_DUNNO, 0, "", "" }, { "REJECT", ACCESS_REFUSE, 554, "", "" }, { "REJECT no way", ACCESS_REFUSE, 554, "", "no way" },
		{ "REJECT 5.7.9 no way", ACCESS_REFUSE, 554, "5.7.9", "no way" }, { "REJECT 4.7.9 no way", ACCESS_REFUSE, 554, "5.7.9", "no way" }, { "450 5.1.9 wait", ACCESS_REFUSE, 450, "4.1.9", "wait" },
		{ "REJECT 5.1.2.3 x", ACCESS_REFUSE, 554, "", "5.1.2.3 x" }, { "DEFER_IF_PERMIT 5.7.1 wait", ACCESS_DEFER_IF_PERMIT, 0, "4.7.1", "wait" },
		{ "600 no", -1, 0, "", "" }, { "221 bye", -1, 0, "", "" }, { "4502 no", -1, 0, "", "" }, { "5 no", -1, 0, "", "" }, { "BCC <a@b>", ACCESS_BCC, 0, "", "a@b" }, { "REDIRECT <a@b", -1, 0, "", "" },
		{ "DEFER later", ACCESS_REFUSE, 450, "", "later" }, { "421 4.3.2 closing", ACCESS_REFUSE, 421, "4.3.2", "closing" }, { "550", ACCESS_REFUSE, 550, "", "" },
		{ "defer_if_permit 4.2.1 wait", ACCESS_DEFER_IF_PERMIT, 0, "4.2.1", "wait" }, { "DEFER_IF_REJECT", ACCESS_DEFER_IF_REJECT, 0, "", "" },
		{ "BCC a@b", ACCESS_BCC, 0, "", "a@b" }, { "BCC nobody", -1, 0, "", "" }, { "REDIRECT a@b", ACCESS_REDIRECT, 0, "", "a@b" }, { "REDIRECT", -1, 0, "", "" },
		{ "PREPEND X-A: b", ACCESS_PREPEND, 0, "", "X-A: b" }, { "PREPEND X A: b", -1, 0, "", "" }, { "FILTER smtp:[127.0.0.1]:10025", ACCESS_FILTER, 0, "", "smtp:[127.0.0.1]:10025" },
		{ "FILTER smtp", -1, 0, "", "" }, { "FILTER smtp:", -1, 0, "", "" }, { "FILTER smtp-amavis:[127.0.0.1]:10024", -1, 0, "", "" },
		{ "FILTER lmtp:unix:/run/f", ACCESS_FILTER, 0, "", "lmtp:unix:/run/f" }, { "FILTER smtp:a b", -1, 0, "", "" }, { "HOLD", ACCESS_HOLD, 0, "", "" }, { "DISCARD why", ACCESS_DISCARD, 0, "", "why" }, { "WARN w", ACCESS_WARN, 0, "", "w" },
		{ "INFO", ACCESS_INFO, 0, "", "" }, { "permit_mynetworks, reject", ACCESS_RESTRICTIONS, 0, "", "permit_mynetworks, reject" }, { "", -1, 0, "", "" }, { "   ", -1, 0, "", "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		struct access_action act = { 0 };
		struct err e = { 0 };
		const int r = access_parse(str_c(t[i].in), 450, 554, &act, &e);
		tap_ok(t[i].kind < 0 ? r < 0 : r == 0 && (int)act.kind == t[i].kind && act.code == t[i].code && strcmp(act.enhanced, t[i].enhanced) == 0 &&
						       str_eq(act.text, str_c(t[i].text)), "access: \"%s\"", t[i].in);
	}
}

int main(void)
{
	test_compile();
	test_access();
	for (int late = 0; late < 2; late++) {
		for (size_t i = 0; i < ARRAY_LEN(at_rcpt); i++)
			run(&at_rcpt[i], late, RESTRICT_RCPT);
		for (size_t i = 0; i < ARRAY_LEN(at_others); i++)
			run(&at_others[i].c, late, at_others[i].stage);
	}
	return tap_done();
}
