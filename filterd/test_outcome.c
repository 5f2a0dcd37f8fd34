/* What follows from what was found: each class with each action, several classes at once, policies by origin, the header fields, the lists of senders. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "addrlist.h"
#include "ipc/filter.h"
#include "outcome.h"
#include "test/tap.h"

enum { FOUND_MAX = 4 };

static struct conf *conf_of(const char *text)
{
	struct conf *c = NULL;
	struct err e = { 0 };
	struct buf problems;
	buf_init(&problems, 4096);
	if (conf_parse(str_c(text), "test", &c, &problems, &e) < 0)
		tap_diag("%s", problems.p);
	buf_fini(&problems);
	return c;
}

static const char *all_edits(struct scan *s)
{
	struct buf b;
	buf_init(&b, 10000);
	for (size_t i = 0; i < s->verdict.n_edits; i++) {
		buf_str(&b, s->verdict.edits[i]);
		buf_ch(&b, '|');
	}
	const char *v = arena_cstr(s->a, buf_view(&b));
	buf_fini(&b);
	return v;
}

static void decide(struct scan *s, struct arena *a, const struct filter_rules *rules, const struct ipc_filter_SCAN *facts, const char *message, const enum class *found, size_t n)
{
	*s = (struct scan){ .a = a, .rules = rules, .facts = facts, .message = str_c(message) };
	s->verdict = (struct verdict){ .action = VERDICT_ACCEPT, .code = 250, .category = "CLEAN", .notify = "" };
	s->root = mime_parse(a, s->message);
	outcome_groups(s);
	outcome_begin(s);
	for (size_t i = 0; i < n; i++)
		(void)scan_found(s, found[i], "what it was", "what the client reads");
	outcome(s);
}

/* --- each class, each action --- */

static const struct {
	enum class class;
	const char *name, *parameter, *category, *alert;
	int code;
} rows[] = {
	{ CLASS_BADHEADER, "BADHEADER", "bad_header_action", "BAD-HEADER", "+X-Amavis-Alert: BAD HEADER SECTION what it was|", 554 },
	{ CLASS_SPAMMY, "SPAMMY", "spammy_action", "SPAMMY", "+X-Spam-Flag: YES|=Subject#1: [SPAM] hello|", 554 },
	{ CLASS_DMARCQUARANTINE, "DMARCQUARANTINE", "dmarc_quarantine_action", "SPAM", "+X-Spam-Flag: YES|=Subject#1: [SPAM] hello|", 550 },
	{ CLASS_DMARCREJECT, "DMARCREJECT", "dmarc_reject_action", "SPAM", "+X-Spam-Flag: YES|=Subject#1: [SPAM] hello|", 550 },
	{ CLASS_SPAM, "SPAM", "spam_action", "SPAM", "+X-Spam-Flag: YES|=Subject#1: [SPAM] hello|", 550 },
	{ CLASS_UNCHECKED, "UNCHECKED", "unchecked_action", "UNCHECKED", "+X-Amavis-Alert: UNCHECKED what it was|=Subject#1: ***UNCHECKED*** hello|", 554 },
	{ CLASS_OVERLIMIT, "OVERLIMIT", "overlimit_action", "UNCHECKED", "+X-Amavis-Alert: UNCHECKED what it was|=Subject#1: ***UNCHECKED*** hello|", 554 },
	{ CLASS_BANNED, "BANNED", "banned_action", "BANNED", "+X-Amavis-Alert: BANNED, message contains what it was|", 550 },
	{ CLASS_VIRUS, "VIRUS", "virus_action", "INFECTED", "+X-Amavis-Alert: INFECTED, message contains virus: what it was|", 550 },
};

static const struct {
	const char *action;
	enum verdict_action verdict;
	bool marks, junk, target;
} actions[] = {
	{ "accept", VERDICT_ACCEPT, false, false, false }, { "tag", VERDICT_ACCEPT, true, false, false }, { "junk", VERDICT_ACCEPT, true, true, false },
	{ "redirect", VERDICT_REDIRECT, false, false, true }, { "quarantine", VERDICT_QUARANTINE, false, false, false },
	{ "discard", VERDICT_DISCARD, false, false, false }, { "reject", VERDICT_REJECT, false, false, false },
};

static void test_each(void)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (size_t k = 0; k < ARRAY_LEN(actions); k++) {
			char text[200];
			struct filter_rules rules = { 0 };
			struct err e = { 0 };
			struct scan s;
			struct arena *a = arena_new(0);
			snprintf(text, sizeof(text), "%s = %s\nredirect_recipient = spam.police\n", rows[i].parameter, actions[k].action);
			struct conf *c = conf_of(text);
			rules.conf = c;
			if (tap_ok(c != NULL && policies_load(c, &rules.policies, &e) == 0, "%s, %s = %s: %s", rows[i].name, rows[i].parameter, actions[k].action, e.text)) {
				decide(&s, a, &rules, NULL, "Subject: hello\n\nx\n", &rows[i].class, 1);
				const char *edits = all_edits(&s);
				tap_ok(s.verdict.action == actions[k].verdict && strcmp(s.verdict.category, rows[i].category) == 0, "its verdict");
				tap_ok(strcmp(edits, actions[k].marks ? rows[i].alert : "") == 0, "its header: %s", edits);
				tap_ok((s.verdict.folder != NULL) == actions[k].junk && (s.verdict.target != NULL) == actions[k].target, "its folder and target");
				tap_ok(s.verdict.code == (actions[k].marks || k == 0 ? 250 : rows[i].code), "its code %d", s.verdict.code);
			}
			policies_free(&rules.policies);
			conf_free(&c);
			arena_free(&a);
		}
}

/* --- several, origins, fields --- */

static const struct {
	const char *name, *conf, *message;
	enum class found[FOUND_MAX];
	size_t n;
	enum { FROM_OUTSIDE, FROM_MYNETS, FROM_USER } from;
	enum verdict_action verdict;
	const char *category, *edits;
} mixed[] = {
	{ "nothing found", "", "Subject: x\n\n", { 0 }, 0, FROM_OUTSIDE, VERDICT_ACCEPT, "CLEAN", "" },
	{ "the most important that keeps decides", "virus_action=accept\nspam_action=reject\nbad_header_action=discard\n", "Subject: x\n\n",
	  { CLASS_BADHEADER, CLASS_VIRUS, CLASS_SPAM }, 3, FROM_OUTSIDE, VERDICT_REJECT, "SPAM", "" },
	{ "a virus above all", "virus_action=quarantine\nbanned_action=reject\n", "Subject: x\n\n", { CLASS_BANNED, CLASS_VIRUS }, 2, FROM_OUTSIDE, VERDICT_QUARANTINE, "INFECTED", "" },
	{ "what does not keep is told", "virus_action=tag\nspam_action=junk\n", "Subject: x\n\n", { CLASS_SPAM, CLASS_VIRUS }, 2, FROM_OUTSIDE, VERDICT_ACCEPT, "INFECTED",
	  "+X-Amavis-Alert: INFECTED, message contains virus: what it was|+X-Spam-Flag: YES|=Subject#1: [SPAM] x|" },
	{ "users may", "filter_policy_authenticated=banned_action=accept\n", "Subject: x\n\n", { CLASS_BANNED }, 1, FROM_USER, VERDICT_ACCEPT, "BANNED", "" },
	{ "mynetworks are not users", "filter_policy_authenticated=banned_action=accept\n", "Subject: x\n\n", { CLASS_BANNED }, 1, FROM_MYNETS, VERDICT_REJECT, "BANNED", "" },
	{ "nor is anybody else", "filter_policy_mynetworks=banned_action=accept\n", "Subject: x\n\n", { CLASS_BANNED }, 1, FROM_OUTSIDE, VERDICT_REJECT, "BANNED", "" },
	{ "inbound", "filter_policy_inbound=banned_action=discard,virus_action=tag\n", "Subject: x\n\n", { CLASS_BANNED }, 1, FROM_OUTSIDE, VERDICT_DISCARD, "BANNED", "" },
	{ "what came with it goes", "", "X-Spam-Flag: NO\nx-virus-scanned: yes\nX-Amavis-Alert: no\nSubject: x\n\n", { 0 }, 0, FROM_OUTSIDE, VERDICT_ACCEPT, "CLEAN",
	  "-X-Spam-Flag#0|-X-Amavis-Alert#0|-X-Virus-Scanned#0|" },
	{ "tags do not pile up", "spam_action=tag\n", "Subject: [SPAM] Re: [SPAM]   x\n\n", { CLASS_SPAM }, 1, FROM_OUTSIDE, VERDICT_ACCEPT, "SPAM",
	  "+X-Spam-Flag: YES|=Subject#1: [SPAM] Re: x|" },
	{ "a folded subject", "spam_action=tag\n", "Subject: a\n b\n\n", { CLASS_SPAM }, 1, FROM_OUTSIDE, VERDICT_ACCEPT, "SPAM", "+X-Spam-Flag: YES|=Subject#1: [SPAM] a b|" },
	{ "no subject", "spam_action=tag\n", "From: a\n\n", { CLASS_SPAM }, 1, FROM_OUTSIDE, VERDICT_ACCEPT, "SPAM", "+X-Spam-Flag: YES|=Subject#1: [SPAM]|" },
	{ "no tag", "spam_action=tag\nspam_subject_tag=\n", "Subject: x\n\n", { CLASS_SPAM }, 1, FROM_OUTSIDE, VERDICT_ACCEPT, "SPAM", "+X-Spam-Flag: YES|" },
};

static void test_mixed(void)
{
	for (size_t i = 0; i < ARRAY_LEN(mixed); i++) {
		struct filter_rules rules = { 0 };
		struct err e = { 0 };
		struct scan s;
		struct arena *a = arena_new(0);
		struct conf *c = conf_of(mixed[i].conf);
		const struct ipc_filter_SCAN facts = { .own = mixed[i].from != FROM_OUTSIDE, .user = mixed[i].from == FROM_USER ? STR("alice") : STR("") };
		rules.conf = c;
		if (tap_ok(c != NULL && policies_load(c, &rules.policies, &e) == 0, "%s: %s", mixed[i].name, e.text)) {
			decide(&s, a, &rules, &facts, mixed[i].message, mixed[i].found, mixed[i].n);
			const char *edits = all_edits(&s);
			tap_ok(s.verdict.action == mixed[i].verdict && strcmp(s.verdict.category, mixed[i].category) == 0, "%s: %s %s", mixed[i].name,
			       verdict_action_names[s.verdict.action], s.verdict.category);
			tap_ok(strcmp(edits, mixed[i].edits) == 0, "%s: %s", mixed[i].name, edits);
		}
		policies_free(&rules.policies);
		conf_free(&c);
		arena_free(&a);
	}
}

static void test_policy_mistakes(void)
{
	static const char *const wrong[] = { "filter_policy_inbound = virus_action\n", "filter_policy_inbound = virus_action=eat\n", "filter_policy_inbound = bypass=nothing\n",
					     "filter_policy_inbound = colour=red\n" };
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct policies *p = NULL;
		struct err e = { 0 };
		struct conf *c = conf_of(wrong[i]);
		tap_ok(c != NULL && policies_load(c, &p, &e) < 0 && strstr(e.text, "filter_policy_inbound") != NULL, "told: %s", e.text);
		conf_free(&c);
	}
}

/* --- recipients --- */

static const char recipients_file[] =
	"[one]\nrecipients = bob@example.com, @shop.example\nspam_action = tag\nspam_kill_level = 3\n"
	"[two]\nrecipients = bob+lists@example.com .example.org\nrecipients = desk@\nspam_action = quarantine\nbypass = virus\n"
	"[rest]\nrecipients = .\nspam_action = junk\nspam_subject_tag =\n";

static const struct {
	const char *address, *before, *section;
} whose[] = {
	{ "bob@example.com", "", "one" },         { "BOB+x@example.com", "", "one" },      { "bob+lists@example.com", "", "two" },
	{ "joe@shop.example", "", "one" },        { "joe@sub.shop.example", "", "rest" },  { "joe@sub.example.org", "", "two" },
	{ "desk@example.com", "", "two" },        { "desk@shop.example", "", "two" },      { "joe@example.net", "", "rest" },
	{ "joe@example.net", "desk@x.y", "rest" },
};

static int policies_from(const char *text, struct conf **c, struct policies **p, struct err *e)
{
	char name[] = "/tmp/test_outcome.XXXXXX", conf[100];
	const int fd = mkstemp(name);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return -1;
	close(fd);
	snprintf(conf, sizeof(conf), "filter_recipient_policies = %s\n", name);
	*c = conf_of(conf);
	const int r = *c == NULL ? -1 : policies_load(*c, p, e);
	unlink(name);
	return r;
}

static void test_whose(void)
{
	struct policies *p = NULL;
	struct conf *c = NULL;
	struct err e = { 0 };
	if (tap_ok(policies_from(recipients_file, &c, &p, &e) == 0, "recipients load: %s", e.text)) {
		for (size_t i = 0; i < ARRAY_LEN(whose); i++) {
			const struct policy *x = policy_of(p, ORIGIN_INBOUND, str_c(whose[i].address), str_c(whose[i].before), "+-");
			tap_ok(strcmp(x->section, whose[i].section) == 0, "%s (%s): [%s]", whose[i].address, whose[i].before, x->section);
		}
		const struct policy *one = policy_of(p, ORIGIN_INBOUND, STR("bob@example.com"), STR(""), "+-");
		const struct policy *two = policy_of(p, ORIGIN_MYNETS, STR("desk@x"), STR(""), "+-");
		tap_ok(one->levels.kill < 3.1 && one->levels.tag2 > 6.3 && one->actions[CLASS_SPAM] == ACTION_tag && one->actions[CLASS_VIRUS] == ACTION_reject,
		       "what a section does not say is as it is for all");
		tap_ok(two->off[STAGE_virus] && !two->off[STAGE_spam] && strcmp(two->subject_tag, "[SPAM]") == 0, "what it says");
	}
	policies_free(&p);
	conf_free(&c);
	const char *const both = "[a]\nrecipients = sales@example.com\n";
	if (tap_ok(policies_from(both, &c, &p, &e) == 0, "another: %s", e.text)) {
		tap_ok(policy_of(p, ORIGIN_INBOUND, STR("bob@example.com"), STR("sales@example.com"), "+-")->section != NULL, "by the name before aliases");
		tap_ok(policy_of(p, ORIGIN_INBOUND, STR("bob@example.com"), STR("all@example.com"), "+-")->section == NULL, "by none");
	}
	policies_free(&p);
	conf_free(&c);
}

/* --- header form --- */

static const struct {
	const char *head, *detail;	/* NULL: good */
	const char *completes;		/* for this sender; NULL: nobody adds what is missing */
} heads[] = {
	{ "Date: x\nFrom: a@b\n", NULL, NULL },
	{ "From: a@b\n", "missing required header field: \"Date\"", NULL },
	{ "Date: x\n", "missing required header field: \"From\"", NULL },
	{ "Subject: x\n", NULL, "a@b" },
	{ "Subject: x\n", "missing required header field: \"From\"", "" },
	{ "Subject: x\nSubject: y\n", "duplicate header field: \"Subject\"", "a@b" },
	{ "Date: x\nFrom: a@b\nfrom: c@d\n", "duplicate header field: \"from\"", NULL },
	{ "Date: x\nFrom: a@b\nReceived: 1\nReceived: 2\n", NULL, NULL },
	{ "Date: x\nFrom: a@b\nSubject: gr\xc3\xbc\xc3\x9f\n", "non-encoded 8-bit data", NULL },
	{ "Date: x\nFrom: a@b\nSubject: a\n \t\n b\n", "folded line of blanks only", NULL },
};

static void test_heads(void)
{
	struct conf *c = conf_of("");
	struct filter_rules rules = { .conf = c };
	struct err e = { 0 };
	tap_ok(c != NULL && policies_load(c, &rules.policies, &e) == 0, "defaults");
	for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
		struct arena *a = arena_new(0);
		const struct ipc_filter_SCAN facts = { .complete = 1, .sender = str_c(heads[i].completes == NULL ? "" : heads[i].completes) };
		struct scan s = { .a = a, .rules = &rules, .facts = heads[i].completes == NULL ? NULL : &facts };
		s.message = str_c(arena_printf(a, "%s\nbody\n", heads[i].head));
		s.root = mime_parse(a, s.message);
		outcome_groups(&s);
		const char *found = stage_header(&s, &e) < 0 ? "trouble" : s.found[s.stage][CLASS_BADHEADER].detail;
		tap_ok(heads[i].detail == NULL ? found == NULL : found != NULL && strcmp(found, heads[i].detail) == 0, "%s", found == NULL ? "good" : found);
		arena_free(&a);
	}
	policies_free(&rules.policies);
	conf_free(&c);
}

/* --- address sets --- */

#define X10 "xxxxxxxxxx"
#define X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10
#define X400 X100 X100 X100 X100

static const struct {
	const char *keys, *address;
	bool in;
} sets[] = {
	{ "bob@example.com", "bob@example.com", true },   { "bob@example.com", "BOB@Example.COM", true },  { "bob@example.com", "bob+x@example.com", true },
	{ "bob+x@example.com", "bob+x@example.com", true }, { "bob+x@example.com", "bob@example.com", false }, { "bob@", "bob@anywhere.example", true },
	{ "example.com", "a@example.com", true },           { "example.com", "a@sub.example.com", false },     { ".example.com", "a@sub.example.com", true },
	{ ".example.com", "a@example.com", true },          { ".com", "a@example.com", true },                 { ".", "a@example.com", true },
	{ ".", "", true },                                  { "<>", "", true },                                { "@", "", true },
	{ "bob@example.com", "", false },                   { "ample.com", "a@example.com", false },           { "example.com", "example.com", false },
	{ "bob@example.com", "bob", false },
	{ "bob@example.com", "bob-x@example.com", true },   { "bob@example.com", "bob-x+y@example.com", true }, { "bob-x@example.com", "bob-x@example.com", true },
	{ "bob@example.com", "-bob@example.com", false },
	{ ".example.com", X400 "@a.example.com", true },    { "bob@example.com", "bob+" X400 "@example.com", true },
};

static void test_sets(void)
{
	for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
		struct addrlist *l = addrlist_new();
		struct err e = { 0 };
		const int added = addrlist_add(l, str_c(sets[i].keys), 0, &e);
		addrlist_ready(l);
		tap_ok(added == 0 && addrlist_has(l, str_c(sets[i].address), "+-") == sets[i].in, "%s %s <%s>", sets[i].keys,
		       sets[i].in ? "has" : "has not", sets[i].address);
		addrlist_free(&l);
	}
}

int main(void)
{
	test_each();
	test_mixed();
	test_policy_mistakes();
	test_whose();
	test_heads();
	test_sets();
	return tap_done();
}
