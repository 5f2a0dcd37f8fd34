/* The site's lists of senders: by the envelope's sender and every address of From. Who is on whitelist_senders is never spam, who is on blacklist_senders
 * always; who is on both is not. Viruses, attachments and forged senders are looked for all the same. */
#include "addrlist.h"
#include "ipc/filter.h"
#include "mail/head.h"
#include "scan.h"

static bool listed(const struct scan *s, const struct addrlist *l, const struct mail_addr *from)
{
	const char delimiter = s->rules->conf->recipient_delimiter[0];
	if (l == NULL)
		return false;
	if (s->facts != NULL && addrlist_has(l, s->facts->sender, delimiter))
		return true;
	for (const struct mail_addr *a = from; a != NULL; a = a->next)
		if (a->domain.n > 0 && addrlist_has(l, str_c(arena_printf(s->a, "%.*s@%.*s", STR_ARG(a->local), STR_ARG(a->domain))), delimiter))
			return true;
	return false;
}

int stage_lists(struct scan *s, struct err *e)
{
	struct mail_field f;
	struct mail_addr *from = NULL;
	if (s->rules->whitelist == NULL && s->rules->blacklist == NULL)
		return 0;
	if (mail_field_find(s->root->head, "From", &f) && mail_addr_parse(s->a, f.value, &from, e) < 0)
		from = NULL;
	s->whitelisted = listed(s, s->rules->whitelist, from);
	s->blacklisted = listed(s, s->rules->blacklist, from);
	if (s->whitelisted)
		scan_explain(s, "lists", "the sender is on whitelist_senders: never spam");
	if (!s->blacklisted)
		return 0;
	scan_explain(s, "lists", "the sender is on blacklist_senders");
	return s->whitelisted ? 0 : scan_found(s, CLASS_SPAM, "BLACKLISTED", "Mail from this sender is not wanted here");
}
