/* Is the sender who he says he is? SPF, DKIM and DMARC of mail from outside; an Authentication-Results field tells what was found. SPF and DKIM alone refuse
 * nothing: only who publishes a DMARC policy asked for that, and dmarc_reject_action and dmarc_quarantine_action say how far he is followed. Nobody who answers
 * is "temperror", and the message goes on. */
#include "scan.h"

#include "authres/aggregate.h"
#include "authres/results.h"
#include "base/clock.h"
#include "findings.h"
#include "ipc/filter.h"
#include "mail/head.h"

enum { FIELD_MAX = 7000 };	/* of the field; VERDICT holds 8192 a text */

struct found {
	struct spf_result spf;
	struct dkim_result dkim[DKIM_SIGNATURES_MAX];
	size_t n_dkim;
	struct arc_result arc;
	struct dmarc_result dmarc;
};

/* RFC 8617 7.2.1: what a forwarder of trust saw pass is not held against the sender. */
static void vouch(struct scan *s, struct found *f)
{
	const struct conf_list trusted = s->rules->conf->arc_trusted_sealers;
	if (f->dmarc.result != AUTH_FAIL || !arc_vouches(s->a, &f->arc, f->dmarc.domain, (const char *const *)trusted.v, trusted.n))
		return;
	f->dmarc.vouched = true;
	f->dmarc.policy = DMARC_NOTHING;
}

static void check(struct scan *s, const uint8_t addr[16], struct found *f)
{
	const struct ipc_filter_SCAN *m = s->facts;
	struct spf_query q = { .helo = m->helo, .sender = m->sender, .receiver = str_c(s->rules->conf->myhostname), .now = clock_wall() };
	memcpy(q.addr, addr, sizeof(q.addr));
	f->spf = spf_check(s->a, s->dns, &q);
	f->n_dkim = dkim_verify(s->a, s->dns, s->message, q.now, f->dkim);
	const struct dmarc_query d = { .message = s->message, .psl = s->rules->psl, .spf = &f->spf, .dkim = f->dkim, .n_dkim = f->n_dkim,
		.draw = (unsigned)(random_u64() % 100) };
	f->dmarc = dmarc_check(s->a, s->dns, &d);
	f->arc = arc_verify(s->a, s->dns, s->message, q.now);
	vouch(s, f);
}

static void explain(struct scan *s, const struct found *f)
{
	scan_explain(s, "sender", "spf=%s of %.*s: %s", auth_result_name(f->spf.result), STR_ARG(f->spf.domain), f->spf.why);
	for (size_t i = 0; i < f->n_dkim; i++)
		scan_explain(s, "sender", "dkim=%s of %.*s: %s", auth_result_name(f->dkim[i].result), STR_ARG(f->dkim[i].domain), f->dkim[i].why);
	scan_explain(s, "sender", "arc=%s, %u sets: %s", auth_result_name(f->arc.result), f->arc.n, f->arc.why);
	scan_explain(s, "sender", "dmarc=%s of %.*s: %s", auth_result_name(f->dmarc.result), STR_ARG(f->dmarc.domain), f->dmarc.why);
}

static void report(struct scan *s, const struct found *f)
{
	struct buf b;
	buf_init(&b, FIELD_MAX);
	buf_c(&b, "+Authentication-Results: ");
	const struct authres r = { s->rules->conf->myhostname, s->facts->sender, &f->spf, f->dkim, f->n_dkim, &f->arc, &f->dmarc };
	authres_format(&b, &r);
	if (!buf_failed(&b))
		scan_edit(s, arena_cstr(s->a, buf_view(&b)));
	buf_fini(&b);
}

static const char *refusal(struct scan *s, const struct found *f)
{
	const struct str from = str_sub(f->dmarc.domain, 0, 100), spf = str_sub(f->spf.domain, 0, 80);
	return arena_printf(s->a,
			    "This message says it is from %.*s, but neither SPF nor a DKIM signature shows that (SPF for %.*s: %s; DKIM: %s), and the owner of "
			    "that domain asks to refuse such mail (DMARC)",
			    STR_ARG(from), STR_ARG(spf), auth_result_name(f->spf.result), f->n_dkim == 0 ? "none" : auth_result_name(f->dkim[0].result));
}

/* What is done with mail of that policy, in the words of a report; *why: it is not what the owner asks for. */
static const char *disposition(const struct conf *c, const struct found *f, const char **why, const char **comment)
{
	const char *action = f->dmarc.policy == DMARC_REJECT ? c->dmarc_reject_action : f->dmarc.policy == DMARC_QUARANTINE ? c->dmarc_quarantine_action : "none";
	const bool refused = strcmp(action, "reject") == 0 || strcmp(action, "discard") == 0, taken = strcmp(action, "none") == 0 || strcmp(action, "accept") == 0;
	const char *did = refused ? "reject" : taken ? "none" : "quarantine";
	*why = *comment = "";
	if (f->dmarc.vouched) {
		*why = "local_policy";
		*comment = "arc=pass";
	} else if (f->dmarc.sampled_out) {
		*why = "sampled_out";
	} else if (f->dmarc.result == AUTH_FAIL && strcmp(did, dmarc_policy_name(f->dmarc.published)) != 0) {
		*why = "local_policy";
	}
	return did;
}

/* RFC 8617 7.2.2: "arc=pass as[2].d=… as[2].s=… as[1].d=…". */
static const char *arc_comment(struct scan *s, const struct arc_result *arc)
{
	const char *text = "arc=pass";
	for (unsigned i = arc->n; i > 0 && strlen(text) < AGGREGATE_VALUE_MAX / 2; i--)
		text = arena_printf(s->a, "%s as[%u].d=%.*s as[%u].s=%.*s", text, i, STR_ARG(arc->sets[i - 1].domain), i, STR_ARG(arc->sets[i - 1].selector));
	return text;
}

static void keep(struct scan *s, const struct found *f)
{
	const ptrdiff_t at = str_rchr(s->facts->sender, '@');
	struct aggregate_query q = { .dmarc = &f->dmarc, .spf = &f->spf, .dkim = f->dkim, .n_dkim = f->n_dkim, .client = s->facts->client,
		.envelope_from = at < 0 ? STR("") : str_from(s->facts->sender, (size_t)at + 1), .now = clock_wall() };
	struct aggregate a;
	struct buf b;
	q.what = disposition(s->rules->conf, f, &q.why, &q.comment);
	if (f->dmarc.vouched)
		q.comment = arc_comment(s, &f->arc);
	if (!s->rules->conf->dmarc_reports || !aggregate_make(s->a, &q, &a))
		return;
	buf_init(&b, AGGREGATE_LINE_MAX + 8);
	if (aggregate_put(&b, &a) == 0)
		s->dmarc = arena_cstr(s->a, str_sub(buf_view(&b), 0, b.n - 1));
	buf_fini(&b);
}

/* The names SpamAssassin's rules have for the outcome. */
static void hits(struct scan *s, const struct found *f)
{
	static const char *const spf[][2] = { [AUTH_NONE] = { "SPF_NONE", "SPF_HELO_NONE" }, [AUTH_NEUTRAL] = { "SPF_NEUTRAL", "SPF_HELO_NEUTRAL" },
		[AUTH_PASS] = { "SPF_PASS", "SPF_HELO_PASS" }, [AUTH_FAIL] = { "SPF_FAIL", "SPF_HELO_FAIL" },
		[AUTH_SOFTFAIL] = { "SPF_SOFTFAIL", "SPF_HELO_SOFTFAIL" }, [AUTH_PERMERROR] = { NULL, NULL } };
	static const char *const failed[] = { [DMARC_NOTHING] = "DMARC_NONE", [DMARC_QUARANTINE] = "DMARC_QUAR", [DMARC_REJECT] = "DMARC_REJECT" };
	bool valid = false, author = false;
	for (size_t i = 0; i < f->n_dkim; i++) {
		valid |= f->dkim[i].result == AUTH_PASS;
		author |= f->dkim[i].result == AUTH_PASS && str_case_eq(f->dkim[i].domain, f->dmarc.domain);
	}
	findings_hit(s, spf[f->spf.result][f->spf.helo]);
	findings_hit(s, valid ? "DKIM_VALID" : NULL);
	findings_hit(s, author ? "DKIM_VALID_AU" : NULL);
	if (f->dmarc.result == AUTH_PASS)
		findings_hit(s, "DMARC_PASS");
	else if (f->dmarc.result == AUTH_FAIL)
		findings_hit(s, failed[f->dmarc.published]);
	else if (f->dmarc.result == AUTH_NONE)
		findings_hit(s, "DMARC_MISSING");
}

/* The one address in From, when a signature of its domain is good. */
static void name_author(struct scan *s, const struct found *f)
{
	struct mail_field from;
	struct mail_addr *a = NULL;
	struct err e = { 0 };
	bool good = f->dmarc.dkim_aligned;
	if (!mail_field_find(s->root->head, "From", &from) || mail_addr_parse(s->a, from.value, &a, &e) < 0 || a == NULL || a->next != NULL || a->domain.n == 0)
		return;
	for (size_t i = 0; i < f->n_dkim; i++)
		good |= f->dkim[i].result == AUTH_PASS && str_case_eq(f->dkim[i].domain, a->domain);
	if (good)
		s->author = arena_printf(s->a, "%.*s@%.*s", STR_ARG(a->local), STR_ARG(a->domain));
}

static int follow(struct scan *s, const struct found *f)
{
	if (f->dmarc.policy != DMARC_REJECT && f->dmarc.policy != DMARC_QUARANTINE)
		return 0;
	const char *detail = arena_printf(s->a, "DMARC p=%s %.*s", dmarc_policy_name(f->dmarc.published), STR_ARG(f->dmarc.domain));
	return scan_found(s, f->dmarc.policy == DMARC_REJECT ? CLASS_DMARCREJECT : CLASS_DMARCQUARANTINE, detail, refusal(s, f));
}

int stage_sender(struct scan *s, struct err *e)
{
	uint8_t addr[16];
	(void)e;
	if (!s->rules->conf->sender_authentication || s->facts == NULL || s->dns == NULL || s->facts->own || addr_parse(s->facts->client, addr) < 0)
		return 0;
	struct found f = { .n_dkim = 0 };
	check(s, addr, &f);
	explain(s, &f);
	report(s, &f);
	hits(s, &f);
	name_author(s, &f);
	keep(s, &f);
	return follow(s, &f);
}
