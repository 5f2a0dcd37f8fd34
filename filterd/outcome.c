/* From what the stages found to the verdict: the class that decides, the reply, the fields that tell recipients and their mail programs. */
#include "outcome.h"

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

static enum action action_of(const struct scan *s, enum class c)
{
	return s->rules->policy[scan_origin(s)].actions[c];
}

int scan_found(struct scan *s, enum class class, const char *detail, const char *text)
{
	if (s->found[class].detail == NULL) {
		s->found[class].detail = detail;
		s->found[class].text = text;
	}
	return action_of(s, class) == ACTION_reject;
}

void scan_edit(struct scan *s, const char *text)
{
	if (s->verdict.n_edits < ARRAY_LEN(s->verdict.edits))
		s->verdict.edits[s->verdict.n_edits++] = str_c(text);
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
static void tag_subject(struct scan *s, struct str tag)
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
		scan_edit(s, arena_cstr(s->a, buf_view(&b)));
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
static void mark(struct scan *s)
{
	bool spam = false, unchecked = false;
	for (size_t i = 0; i < CLASSES; i++) {
		const enum action a = s->found[i].detail == NULL ? ACTION_accept : action_of(s, (enum class)i);
		if (a != ACTION_tag && a != ACTION_junk)
			continue;
		if (a == ACTION_junk)
			s->verdict.folder = "Junk";
		if (classes[i].alert != NULL)
			scan_edit(s, arena_printf(s->a, "+X-Amavis-Alert: %s %s", classes[i].alert, shown(s, s->found[i].detail)));
		unchecked |= i == CLASS_UNCHECKED || i == CLASS_OVERLIMIT;
		spam |= classes[i].alert == NULL;
	}
	if (spam) {
		scan_edit(s, "+X-Spam-Flag: YES");
		tag_subject(s, str_c(s->rules->conf->spam_subject_tag));
	} else if (unchecked) {
		tag_subject(s, str_c(s->rules->conf->unchecked_subject_tag));
	}
	if (s->scanned && s->rules->conf->virus_scanned_header)
		scan_edit(s, arena_printf(s->a, "+X-Virus-Scanned: %s at %s", s->rules->conf->mail_name, s->rules->conf->mydomain));
}

/* The most important class that keeps the message from its recipients, else the most important of all; CLASSES: nothing was found. */
static enum class decisive(const struct scan *s)
{
	size_t most = CLASSES;
	for (size_t i = CLASSES; i-- > 0;) {
		if (s->found[i].detail == NULL)
			continue;
		if (action_keeps(action_of(s, (enum class)i)))
			return (enum class)i;
		if (most == CLASSES)
			most = i;
	}
	return (enum class)most;
}

bool outcome_keeps(const struct scan *s)
{
	const enum class c = decisive(s);
	return c != CLASSES && action_keeps(action_of(s, c));
}

void outcome(struct scan *s)
{
	static const enum verdict_action kept[ACTIONS] = {
		[ACTION_redirect] = VERDICT_REDIRECT, [ACTION_quarantine] = VERDICT_QUARANTINE, [ACTION_discard] = VERDICT_DISCARD, [ACTION_reject] = VERDICT_REJECT,
	};
	struct verdict *v = &s->verdict;
	const enum class c = decisive(s);
	mark(s);
	if (c == CLASSES)
		return;
	const enum action a = action_of(s, c);
	v->category = classes[c].word;
	v->detail = s->found[c].detail;
	v->notify = admin_of(s->rules->conf, c);
	if (!action_keeps(a))
		return;
	v->action = kept[a];
	v->code = classes[c].code;
	v->enhanced = classes[c].enhanced;
	v->text = s->found[c].text;
	v->target = a == ACTION_redirect ? s->rules->conf->redirect_recipient : NULL;
}
