/* From what the stages found to the verdict: the class that decides, the reply, the fields that tell recipients and their mail programs. Recipients have policies:
 * those of one are a group, and groups for which the same is done are one outcome. */
#include "outcome.h"

#include <string.h>

#include "base/buf.h"
#include "base/enc.h"
#include "ipc/filter.h"
#include "mail/head.h"

enum { SUBJECT_MAX = 8000, SHOWN_MAX = 200 };

static const struct {
	const char *word;
	int code;
	const char *enhanced, *alert;
} classes[CLASSES] = {
#define CLASS(name, word, action, code, enhanced, alert, told) { word, code, enhanced, alert },
#include "classes.def"
#undef CLASS
};

static const char *admin_of(const struct conf *conf, enum class c)
{
	const char *const told[CLASSES] = {
#define CLASS(name, word, action, code, enhanced, alert, told) told,
#include "classes.def"
#undef CLASS
	};
	return told[c];
}

enum origin scan_origin(const struct scan *s)
{
	if (s->facts == NULL || !s->facts->own)
		return ORIGIN_INBOUND;
	return s->facts->user.n > 0 ? ORIGIN_AUTHENTICATED : ORIGIN_MYNETS;
}

/* --- groups --- */

static struct group *group_of(struct scan *s, const struct policy *p, size_t n)
{
	for (size_t i = 0; i < s->n_groups; i++)
		if (s->groups[i].policy == p)
			return &s->groups[i];
	struct group *g = &s->groups[s->n_groups++];
	*g = (struct group){ .policy = p, .whose = ARENA_ARRAY(s->a, unsigned char, n / 8 + 1) };
	memset(g->whose, 0, n / 8 + 1);
	return g;
}

void outcome_groups(struct scan *s)
{
	const enum origin o = scan_origin(s);
	const struct ipc_filter_SCAN *m = s->facts;
	const size_t n = m == NULL || !policies_differ(s->rules->policies) ? 0 : m->recipients.n;
	const char *delimiters = s->rules->conf->recipient_delimiter;
	s->groups = ARENA_ARRAY(s->a, struct group, n + 1);
	for (size_t i = 0; i < n; i++) {
		const struct str before = i < m->before.n ? m->before.v[i] : STR("");
		struct group *g = group_of(s, policy_of(s->rules->policies, o, m->recipients.v[i], before, delimiters), n);
		g->whose[i / 8] |= (unsigned char)(1u << i % 8);
	}
	if (s->n_groups == 0)
		s->groups[s->n_groups++] = (struct group){ .policy = policy_of_all(s->rules->policies, o) };
	const char *section = s->groups[0].policy->section;
	if (n == 1)
		scan_explain(s, "policy", section == NULL ? "%.*s: no section of filter_recipient_policies" : "%.*s: section [%s]", STR_ARG(m->recipients.v[0]), section);
}

/* --- what was found, for a group --- */

static const struct finding no_finding;

/* What the lists, the score and rules about attachments say is the group's own. */
static struct finding found(const struct scan *s, const struct group *g, enum class c)
{
	if (c == CLASS_SPAM && g->blacklisted)
		return (struct finding){ "BLACKLISTED", "Mail from this sender is not wanted here" };
	if (c == CLASS_BANNED && g->banned.detail != NULL && !g->policy->off[STAGE_banned])
		return g->banned;
	for (enum stage i = 0; i < STAGES; i++)
		if (!g->policy->off[i] && s->found[i][c].detail != NULL)
			return s->found[i][c];
	if (stage_spam_class(s, g) == c)
		return (struct finding){ s->score, "This message looks like spam" };
	return no_finding;
}

int scan_found(struct scan *s, enum class class, const char *detail, const char *text)
{
	struct finding *f = &s->found[s->stage][class];
	if (f->detail == NULL)
		*f = (struct finding){ detail, text };
	for (size_t i = 0; i < s->n_groups; i++)
		if (s->groups[i].policy->off[s->stage] || s->groups[i].policy->actions[class] != ACTION_reject)
			return 0;
	return 1;
}

int scan_found_banned(struct scan *s, struct group *g, struct finding f)
{
	g->banned = f;
	for (size_t i = 0; i < s->n_groups; i++)
		if (s->groups[i].banned.detail == NULL || s->groups[i].policy->off[STAGE_banned] || s->groups[i].policy->actions[CLASS_BANNED] != ACTION_reject)
			return 0;
	return 1;
}

void verdict_edit(struct verdict *v, const char *text)
{
	if (v->n_edits < ARRAY_LEN(v->edits))
		v->edits[v->n_edits++] = str_c(text);
}

void scan_edit(struct scan *s, const char *text)
{
	verdict_edit(&s->verdict, text);
}

/* Fields in which only we may say something: those that came with the message go. */
void outcome_begin(struct scan *s)
{
	static const char *const ours[] = { "X-Spam-Flag", "X-Spam-Score", "X-Spam-Level", "X-Spam-Status", "X-Amavis-Alert", "X-Virus-Scanned" };
	struct mail_field f;
	bool seen[ARRAY_LEN(ours)] = { false };
	for (struct str rest = s->root->head; mail_field_next(&rest, &f) == 0;)
		for (size_t i = 0; f.name.n > 8 && i < ARRAY_LEN(ours); i++)
			seen[i] |= str_case_eq(f.name, str_c(ours[i]));
	for (size_t i = 0; i < ARRAY_LEN(ours); i++)
		if (seen[i])
			scan_edit(s, arena_printf(s->a, "-%s#0", ours[i]));
}

/* The tag before the subject; the same tag elsewhere in it goes, so that tags do not pile up. A subject that was encoded stays so behind it. */
static void tag_subject(struct scan *s, struct str tag, struct verdict *v)
{
	struct mail_field f;
	struct buf b;
	if (tag.n == 0)
		return;
	struct str rest = mail_field_find(s->root->head, "Subject", &f) ? mail_unfold(s->a, f.value) : STR("");
	buf_init(&b, SUBJECT_MAX);
	buf_c(&b, "=Subject#1: ");
	buf_str(&b, tag);
	if (rest.n > 0)
		buf_ch(&b, ' ');
	while (rest.n > 0) {
		if (tag.n >= 3 && str_starts(rest, tag)) {
			rest = str_from(rest, tag.n);
			while (rest.n > 0 && ch_blank(rest.p[0]))
				rest = str_from(rest, 1);
			continue;
		}
		buf_ch(&b, ch_ctl(rest.p[0]) ? ' ' : rest.p[0]);
		rest = str_from(rest, 1);
	}
	if (!buf_failed(&b))
		verdict_edit(v, arena_cstr(s->a, buf_view(&b)));
	buf_fini(&b);
}

static const char *shown(struct scan *s, const char *text)
{
	struct buf b;
	buf_init(&b, SHOWN_MAX + 8);
	text_neutral(&b, str_c(text), SHOWN_MAX, true);
	const char *v = arena_cstr(s->a, buf_view(&b));
	buf_fini(&b);
	return v;
}

/* What is delivered although something was found. The score's own fields are written by its stage. */
static void mark(struct scan *s, const struct group *g, struct verdict *v)
{
	bool spam = false, unchecked = false;
	for (size_t i = 0; i < CLASSES; i++) {
		const struct finding f = found(s, g, (enum class)i);
		const enum action a = f.detail == NULL ? ACTION_accept : g->policy->actions[i];
		if (a != ACTION_tag && a != ACTION_junk)
			continue;
		if (a == ACTION_junk)
			v->folder = "Junk";
		if (classes[i].alert != NULL)
			verdict_edit(v, arena_printf(s->a, "+X-Amavis-Alert: %s %s", classes[i].alert, shown(s, f.detail)));
		unchecked |= i == CLASS_UNCHECKED || i == CLASS_OVERLIMIT;
		spam |= classes[i].alert == NULL;
	}
	if (spam) {
		verdict_edit(v, "+X-Spam-Flag: YES");
		tag_subject(s, str_c(g->policy->subject_tag), v);
	} else if (unchecked) {
		tag_subject(s, str_c(s->rules->conf->unchecked_subject_tag), v);
	}
	if (s->scanned && s->rules->conf->virus_scanned_header && !g->policy->off[STAGE_virus])
		verdict_edit(v, arena_printf(s->a, "+X-Virus-Scanned: %s at %s", s->rules->conf->mail_name, s->rules->conf->mydomain));
}

/* The most important class that keeps the message from its recipients, else the most important of all; CLASSES: nothing was found. */
static enum class decisive(const struct scan *s, const struct group *g)
{
	size_t most = CLASSES;
	for (size_t i = CLASSES; i-- > 0;) {
		if (found(s, g, (enum class)i).detail == NULL)
			continue;
		if (action_keeps(g->policy->actions[i]))
			return (enum class)i;
		if (most == CLASSES)
			most = i;
	}
	return (enum class)most;
}

bool outcome_keeps(const struct scan *s)
{
	for (size_t i = 0; i < s->n_groups; i++) {
		const enum class c = decisive(s, &s->groups[i]);
		if (c == CLASSES || !action_keeps(s->groups[i].policy->actions[c]))
			return false;
	}
	return true;
}

static void decide(struct scan *s, const struct group *g, struct verdict *v)
{
	static const enum verdict_action kept[ACTIONS] = {
		[ACTION_redirect] = VERDICT_REDIRECT, [ACTION_quarantine] = VERDICT_QUARANTINE, [ACTION_discard] = VERDICT_DISCARD, [ACTION_reject] = VERDICT_REJECT,
	};
	const enum class c = decisive(s, g);
	stage_spam_tell(s, g, v);
	mark(s, g, v);
	if (c == CLASSES)
		return;
	const enum action a = g->policy->actions[c];
	const struct finding f = found(s, g, c);
	v->category = classes[c].word;
	v->detail = f.detail;
	v->notify = admin_of(s->rules->conf, c);
	if (!action_keeps(a))
		return;
	v->action = kept[a];
	v->code = classes[c].code;
	v->enhanced = classes[c].enhanced;
	v->text = f.text;
	v->target = a == ACTION_redirect ? g->policy->redirect : NULL;
}

/* --- outcomes --- */

static bool same_text(const char *x, const char *y)
{
	return x == y || (x != NULL && y != NULL && strcmp(x, y) == 0);
}

/* Do both want the same? Marks count where somebody is to have the message. */
static bool is_same(const struct verdict *x, const struct verdict *y)
{
	if (x->action != y->action || x->code != y->code || !same_text(x->category, y->category) || !same_text(x->detail, y->detail) ||
	    !same_text(x->folder, y->folder) || !same_text(x->target, y->target) || !same_text(x->text, y->text))
		return false;
	if (x->action == VERDICT_REJECT || x->action == VERDICT_DISCARD)
		return true;
	if (x->n_edits != y->n_edits)
		return false;
	for (size_t i = 0; i < x->n_edits; i++)
		if (!str_eq(x->edits[i], y->edits[i]))
			return false;
	return true;
}

static void join(struct verdict *v, const struct group *g, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		((unsigned char *)(void *)(uintptr_t)v->whose.p)[i] |= g->whose[i];
}

static struct verdict *add(struct scan *s, const struct verdict *v, const struct group *g, size_t bytes)
{
	for (size_t i = 0; i < s->n_outcomes; i++)
		if (is_same(&s->outcomes[i], v)) {
			join(&s->outcomes[i], g, bytes);
			return &s->outcomes[i];
		}
	if (s->n_outcomes == FILTER_OUTCOMES_MAX)
		return NULL;
	s->outcomes[s->n_outcomes] = *v;
	s->outcomes[s->n_outcomes].whose = str_n((const char *)g->whose, bytes);
	return &s->outcomes[s->n_outcomes++];
}

void outcome(struct scan *s)
{
	const size_t bytes = s->facts == NULL ? 0 : (s->facts->recipients.n + 7) / 8;
	const struct verdict common = s->verdict;
	decide(s, &s->groups[0], &s->verdict);
	if (s->n_groups == 1)
		return;
	s->outcomes = ARENA_ARRAY(s->a, struct verdict, s->n_groups < FILTER_OUTCOMES_MAX ? s->n_groups : FILTER_OUTCOMES_MAX);
	for (size_t i = 0; i < s->n_groups; i++) {
		struct verdict v = common;
		decide(s, &s->groups[i], &v);
		if (add(s, &v, &s->groups[i], bytes) != NULL)
			continue;
		s->n_outcomes = 0;
		s->verdict = (struct verdict){ .action = VERDICT_TEMPFAIL, .code = 452, .enhanced = "4.5.3", .category = "UNCHECKED", .notify = "",
			.text = "Too many recipients for whom this message has to be treated differently", .detail = "too many different outcomes" };
		return;
	}
	if (s->n_outcomes == 1)
		s->n_outcomes = 0;	/* s->verdict is everybody's */
}
