/* Lists of senders: by the envelope's sender and every address of From. Who is on whitelist_senders is never spam, who is on blacklist_senders always; who is on
 * both is not. Lists of a recipient's own policy come before the site's. Viruses, attachments and forged senders are looked for all the same. */
#include "addrlist.h"
#include "ipc/filter.h"
#include "mail/head.h"
#include "scan.h"

static struct mail_addr *from_of(struct scan *s)
{
	struct mail_field f;
	struct mail_addr *from = NULL;
	struct err e = { 0 };
	if (!mail_field_find(s->root->head, "From", &f) || mail_addr_parse(s->a, f.value, &from, &e) < 0)
		return NULL;
	return from;
}

static bool listed(const struct scan *s, const struct addrlist *l, const struct mail_addr *from)
{
	const char *delimiters = s->rules->conf->recipient_delimiter;
	if (l == NULL)
		return false;
	if (s->facts != NULL && addrlist_has(l, s->facts->sender, delimiters))
		return true;
	for (const struct mail_addr *a = from; a != NULL; a = a->next)
		if (a->domain.n > 0 && addrlist_has(l, str_c(arena_printf(s->a, "%.*s@%.*s", STR_ARG(a->local), STR_ARG(a->domain))), delimiters))
			return true;
	return false;
}

void stage_lists_groups(struct scan *s)
{
	const struct mail_addr *from = NULL;
	bool parsed = false;
	for (size_t i = 0; i < s->n_groups; i++) {
		struct group *g = &s->groups[i];
		const struct policy *p = g->policy;
		if (p->off[STAGE_lists])
			continue;
		if (!parsed && (p->white != NULL || p->black != NULL)) {
			from = from_of(s);
			parsed = true;
		}
		g->whitelisted = listed(s, p->white, from);
		g->blacklisted = !g->whitelisted && listed(s, p->black, from);
		if (g->whitelisted || g->blacklisted)
			continue;
		g->whitelisted = s->whitelisted;
		g->blacklisted = s->blacklisted && !s->whitelisted;
	}
}

/* 1: nobody wants it, and all refuse it. */
static int unwanted(const struct scan *s)
{
	for (size_t i = 0; i < s->n_groups; i++)
		if (!s->groups[i].blacklisted || s->groups[i].policy->actions[CLASS_SPAM] != ACTION_reject)
			return 0;
	return 1;
}

int stage_lists(struct scan *s, struct err *e)
{
	(void)e;
	if (s->rules->whitelist != NULL || s->rules->blacklist != NULL) {
		const struct mail_addr *from = from_of(s);
		s->whitelisted = listed(s, s->rules->whitelist, from);
		s->blacklisted = listed(s, s->rules->blacklist, from);
	}
	if (s->whitelisted)
		scan_explain(s, "lists", "the sender is on whitelist_senders: never spam");
	if (s->blacklisted)
		scan_explain(s, "lists", "the sender is on blacklist_senders");
	stage_lists_groups(s);
	return unwanted(s);
}
