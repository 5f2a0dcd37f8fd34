/* What an administrator wants to hear at once of a new alias, and not from people whose mail is missing: a target that was mistyped, a domain
 * that no mail comes for. */
#include "admin/alias/alias_leads.h"

#include <stdio.h>
#include <string.h>

#include "deliver/resolve/resolve.h"
#include "log/log.h"
#include "map/accounts.h"

static void hear(void *ctx, enum log_level lv, const char *text)
{
	(void)ctx, (void)lv, (void)text;	/* of one target more than what is told here */
}

static void note_trouble(void *ctx, const char *parameter, const char *spec, const struct err *why)
{
	(void)parameter, (void)spec, (void)why;
	*(bool *)ctx = true;
}

/* As it is asked for from outside; a local name is one of the first local domain. "": none is. */
static struct str address_of(const struct conf *conf, struct arena *a, struct str name)
{
	if (str_starts(name, STR("@")))
		return STR("");
	if (str_chr(name, '@') >= 0)
		return name;
	return conf->mydestination.n && !strchr(conf->mydestination.v[0], ':') ? str_c(arena_printf(a, "%.*s@%s", STR_ARG(name), conf->mydestination.v[0])) : STR("");
}

/* An alias comes before the mailbox of that name. */
static void tell_user(const struct conf *conf, const char *name, const struct ipc_resolve_RESULT *res)
{
	struct account account;
	struct err none = { 0 };

	if (account_load(conf->state_directory, str_c(name), (uid_t)conf->auth_min_uid, &account, &none) < 0)
		return;
	for (size_t i = 0; i < res->users.n; i++)
		if (str_eq(res->users.v[i], str_c(account.name)))
			return;
	fprintf(stderr, "postern alias: note: the user %s gets no mail any more; %s%s as a target keeps it\n", account.name, strchr(name, '@') ? "" : "\\", account.name);
}

static void tell(const struct conf *conf, const char *name, struct resolver *r, struct arena *a, struct str address)
{
	struct ipc_resolve_RESULT res;
	struct str dead;

	resolver_answer_dead(r, a, address, true, &res, &dead);
	tell_user(conf, name, &res);
	if (dead.n)
		fprintf(stderr, "postern alias: note: %.*s does not exist: that part of the mail is for nobody\n", STR_ARG(str_sub(dead, 0, 200)));
	if (str_eq(res.class, STR("default")))
		fprintf(stderr, "postern alias: note: %.*s is none of our domains: only what is sent from here goes this way\n",
			STR_ARG(str_from(address, (size_t)str_rchr(address, '@') + 1)));
	if (res.kinds.n > 0)
		return;
	struct str why = res.text;
	for (size_t i = 0; i < res.steps.n; i++)
		if (str_ends(res.steps.v[i], STR(": unknown")))
			why = res.steps.v[i];
	fprintf(stderr, "postern alias: note: mail for %.*s is refused: %.*s\n", STR_ARG(address), STR_ARG(str_sub(why, 0, 300)));
}

void alias_leads_tell(const struct conf *conf, const char *name)
{
	struct arena *a = arena_new(0);
	const struct str address = address_of(conf, a, str_c(name));
	struct resolver *r = NULL;
	struct err e = { 0 };
	bool trouble = false;

	log_divert(hear, NULL);
	if (address.n && resolver_new(conf, &r, &e) == 0) {
		resolver_troubles(r, note_trouble, &trouble);
		if (!trouble)
			tell(conf, name, r, a, address);
		resolver_free(&r);
	}
	arena_free(&a);
}
