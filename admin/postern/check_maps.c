/* Maps: named and never compiled, compiled and never named, older than their source, mistakes in the source; aliases that lead nowhere;
 * postmaster. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "admin/postern/check.h"
#include "admin/maps/postmap.h"
#include "deliver/resolve/resolve.h"
#include "deliver/restrict/restrict.h"
#include "map/lookup.h"

enum { KEYS_MAX = 20000, DEAD_MAX = 50 };

/* --- sources --- */

struct source_check {
	struct check *c;
	const char *param;
};

static void tell(void *ctx, const char *text)
{
	const struct source_check *s = ctx;
	const char *sep = strstr(text, ": ");
	const bool error = sep && strncmp(sep, ": error: ", 9) == 0;
	const char *place = sep ? arena_cstr(s->c->a, str_n(text, (size_t)(sep - text))) : "";

	found(s->c, error ? SEV_ERROR : SEV_WARNING, place, "", "%s",
	      sep ? sep + (error ? 9 : 11) : text);
}

static void check_source(struct check *c, const char *param, const char *source, bool alias)
{
	struct source_check s = { c, param };
	struct build b = { .alias = alias, .check_only = true, .tell = tell, .ctx = &s };
	struct err e = { 0 };

	(void)!map_build(&b, source, &e);
	if (e.code != ERR_NONE)
		found(c, SEV_WARNING, source, param, "%s", e.text);
}

/* cdb:/x and hash:/x: is /x.cdb there, as new as /x, and is /x sound? */
static void check_compiled(struct check *c, const char *param, const char *spec, bool alias)
{
	const char *source = strchr(spec, ':') + 1, *tool = alias ? "postalias" : "postmap";
	const char *file = arena_printf(c->a, "%s.cdb", source);
	struct stat st_source, st_file;
	const bool has_source = stat(source, &st_source) == 0, has_file = stat(file, &st_file) == 0;

	if (!has_file)
		found_param(c, SEV_ERROR, param, "%s: %s is missing: %s%s %s", spec, file,
			    has_source ? "run " : "write the source, then ", tool, source);
	else if (has_source && st_source.st_mtim.tv_sec > st_file.st_mtim.tv_sec)
		found_param(c, SEV_WARNING, param, "%s: the source is newer than %s: run %s %s",
			    spec, file, tool, source);
	if (has_file && (st_file.st_mode & 022))
		found(c, SEV_ERROR, file, param, "mode %04o: group or others may write it",
		      (unsigned)st_file.st_mode & 07777);
	if (has_source)
		check_source(c, param, source, alias);
}

/* Of another kind (cidr:, pcre:, texthash:), or of a restriction: can it be read? */
static void check_readable(struct check *c, const char *param, const char *spec)
{
	struct lookup *l;
	struct err e = { 0 };

	if (lookup_open(spec, &l, &e) < 0) {
		found_param(c, SEV_ERROR, param, "%s", e.text);
		return;
	}
	if (lookup_trouble(l))
		found_param(c, SEV_ERROR, param, "%s: %s", spec, lookup_trouble(l)->text);
	lookup_close(&l);
}

static void check_list(struct check *c, const char *param, struct conf_list list, bool alias)
{
	for (size_t i = 0; i < list.n; i++)
		if (str_starts(str_c(list.v[i]), STR("cdb:")) ||
		    str_starts(str_c(list.v[i]), STR("hash:")))
			check_compiled(c, param, list.v[i], alias);
}

static bool list_has(struct conf_list list, const char *word)
{
	for (size_t i = 0; i < list.n; i++)
		if (strcmp(list.v[i], word) == 0)
			return true;
	return false;
}

static void check_one_list(void *ctx, const char *parameter, struct conf_list list)
{
	struct check *const c = ctx;

	if (strcmp(parameter, "virtual_alias_domains") != 0 && strcmp(parameter, "local_recipient_maps") != 0) {
		check_list(c, parameter, list, strcmp(parameter, "alias_maps") == 0);
		return;
	}
	/* Their defaults are maps that are told of already. */
	for (size_t i = 0; i < list.n; i++)
		if (!list_has(c->conf->virtual_alias_maps, list.v[i]) && !list_has(c->conf->alias_maps, list.v[i]))
			check_list(c, parameter, (struct conf_list){ &list.v[i], 1 }, false);
}

/* --- maps that nothing names --- */

static bool value_names(const struct conf *conf, const char *path)
{
	const char *name;
	size_t it = 0;
	bool named = false;

	while (!named && conf_param_next(&it, &name)) {
		struct arena *a = arena_new(0);
		struct str value;

		if (conf_param_value(conf, name, a, &value, NULL) == 0) {
			const ptrdiff_t at = str_find(value, str_c(path));

			named = at >= 0;
		}
		arena_free(&a);
	}
	return named;
}

static void check_unnamed(struct check *c)
{
	static const char *const usual[] = { "virtual",	  "aliases", "transport",
					     "canonical", "access",  "relocated" };
	DIR *d = opendir(c->conf->conf_dir);

	for (struct dirent *ent; d && (ent = readdir(d));) {
		const struct str name = str_c(ent->d_name);
		const bool compiled = str_ends(name, STR(".cdb"));
		bool known = compiled;

		for (size_t i = 0; i < ARRAY_LEN(usual); i++)
			known = known || strcmp(ent->d_name, usual[i]) == 0;
		if (!known)
			continue;
		const char *path = arena_printf(c->a, "%s/%.*s", c->conf->conf_dir,
						(int)(compiled ? name.n - 4 : name.n), name.p);

		if (!value_names(c->conf, path))
			found(c, SEV_WARNING,
			      arena_printf(c->a, "%s/%s", c->conf->conf_dir, ent->d_name), "",
			      "no parameter names this map: it is never read%s",
			      str_starts(name, STR("virtual"))
				      ? arena_printf(c->a, " (virtual_alias_maps = cdb:%s)", path)
			      : str_starts(name, STR("aliases"))
				      ? arena_printf(c->a, " (alias_maps = cdb:%s)", path)
				      : "");
	}
	if (d)
		closedir(d);
}

/* --- where do they lead? --- */

struct walk {
	struct check *c;
	struct resolver *r;
	const char *param, *spec;
	bool alias;
	unsigned keys, dead;
};

static int try_key(void *ctx, struct str key, struct str value, unsigned line)
{
	struct walk *w = ctx;
	struct arena *a = arena_new(0);
	struct ipc_resolve_RESULT res;
	struct str address = key, dead;

	if (++w->keys > KEYS_MAX || w->dead > DEAD_MAX) {
		arena_free(&a);
		return 1;
	}
	/* Keys that are no address: markers, domains, catch-alls. */
	const ptrdiff_t at = str_rchr(key, '@');

	if (key.n == 0 || key.p[0] == '@' ||
	    (!w->alias && at < 0 && str_chr(key, '.') >= 0 && str_chr(value, '@') < 0)) {
		arena_free(&a);
		return 0;
	}
	if (w->alias)
		address = str_c(arena_printf(a, "%.*s@%s", STR_ARG(key),
					     w->c->conf->mydestination.n
						     ? w->c->conf->mydestination.v[0]
						     : w->c->conf->myhostname));
	resolver_answer_dead(w->r, a, address, false, &res, &dead);
	if (dead.n) {
		w->dead++;
		found_param(w->c, SEV_WARNING, w->param, "%s: \"%.*s\" also leads to %.*s, who does not exist: that part of its mail is for nobody, and no sender hears of it",
			    w->spec, STR_ARG(str_sub(key, 0, 100)), STR_ARG(str_sub(dead, 0, 100)));
	}
	if (w->alias)
		check_alias_targets(w->c, w->param, w->spec, key, &res);
	if (str_eq(res.class, STR("unknown")) ||
	    (str_eq(res.class, STR("error")) && res.code != 501)) {
		struct str why = res.text;

		/* Only where it is told: what explains an answer reads the whole source for the line. */
		resolver_answer(w->r, a, address, true, &res);
		for (size_t i = 0; i < res.steps.n; i++)
			if (str_ends(res.steps.v[i], STR(": unknown")) ||
			    str_starts(res.steps.v[i], STR("trouble: ")))
				why = res.steps.v[i];
		w->dead++;
		found_param(w->c, SEV_WARNING, w->param, "%s: \"%.*s\" leads nowhere: %.*s",
			    w->spec, STR_ARG(str_sub(key, 0, 100)), STR_ARG(str_sub(why, 0, 300)));
	}
	arena_free(&a);
	return 0;
}

static void walk_tables(struct check *c, struct resolver *r, const char *param,
			struct conf_list list, bool alias)
{
	for (size_t i = 0; i < list.n; i++) {
		struct walk w = {
			.c = c, .r = r, .param = param, .spec = list.v[i], .alias = alias
		};
		struct lookup *l;

		if (lookup_open(list.v[i], &l, NULL) < 0)
			continue;
		if (!lookup_trouble(l) && !lookup_is_pattern(l))
			(void)!lookup_each(l, try_key, &w, NULL);
		if (w.keys > KEYS_MAX)
			found_param(c, SEV_NOTE, param, "%s: where its keys lead was looked at for the first %d; it has more", list.v[i], KEYS_MAX);
		if (w.dead > DEAD_MAX)
			found_param(c, SEV_WARNING, param,
				    "%s: more than %d such keys; the rest is not shown", list.v[i],
				    DEAD_MAX);
		lookup_close(&l);
	}
}

static void check_always_bcc(struct check *c, struct resolver *r)
{
	struct arena *a = arena_new(0);
	struct ipc_resolve_RESULT res;

	if (c->conf->always_bcc[0]) {
		resolver_answer(r, a, str_c(c->conf->always_bcc), true, &res);
		if (res.kinds.n == 0)
			found_param(c, SEV_ERROR, "always_bcc", "%s reaches nobody (%.*s)", c->conf->always_bcc, STR_ARG(res.text));
	}
	arena_free(&a);
}

static void check_postmaster(struct check *c, struct resolver *r, const char *domain)
{
	struct arena *a = arena_new(0);
	struct ipc_resolve_RESULT res;
	const char *address = arena_printf(a, "postmaster@%s", domain);

	resolver_answer(r, a, str_c(address), true, &res);
	if (res.kinds.n == 0)
		found(c, SEV_ERROR, "", "alias_maps",
		      "%s reaches nobody (%.*s); every mail domain must have a postmaster (RFC "
		      "5321 4.5.1)",
		      address, STR_ARG(res.text));
	arena_free(&a);
}

struct troubles {
	struct check *c;
	bool any;
};

static void note_trouble(void *ctx, const char *parameter, const char *spec, const struct err *why)
{
	struct troubles *const t = ctx;
	struct check *c = t->c;
	struct str text;

	t->any = true;
	if (strcmp(parameter, "state_directory") == 0 && why->sys == ENOENT) {
		found_param(c, SEV_NOTE, parameter,
			    "%s is not there yet, so recipients were not checked: authd makes it "
			    "when it first starts",
			    spec);
		return;
	}
	/* Missing compiled maps were told with what to do. */
	if (strncmp(spec, "cdb:", 4) != 0 && strncmp(spec, "hash:", 5) != 0 &&
	    conf_lookup(c->conf, parameter, &text))
		found_param(c, SEV_ERROR, parameter, "%s: %s", spec, why->text);
}

static void check_recipients(struct check *c)
{
	struct resolver *r = NULL;
	struct err e = { 0 };
	struct troubles t = { .c = c };

	if (resolver_new(c->conf, &r, &e) < 0) {
		found_error(c, "", &e);
		return;
	}
	resolver_troubles(r, note_trouble, &t);
	/* While a map is in trouble every answer would be. */
	if (!t.any) {
		check_postmaster(c, r,
				 c->conf->mydestination.n ? c->conf->mydestination.v[0]
							  : c->conf->myhostname);
		for (size_t i = 0; i < c->conf->virtual_mailbox_domains.n; i++)
			if (!strchr(c->conf->virtual_mailbox_domains.v[i], ':'))
				check_postmaster(c, r, c->conf->virtual_mailbox_domains.v[i]);
		check_always_bcc(c, r);
		walk_tables(c, r, "alias_maps", c->conf->alias_maps, true);
		walk_tables(c, r, "virtual_alias_maps", c->conf->virtual_alias_maps, false);
	}
	resolver_free(&r);
}

/* The parameter that names the table of a restriction. */
static const char *names_table(const struct conf *o, const char *spec)
{
	const struct {
		const char *name;
		struct conf_list words;
	} lists[] = { { "smtpd_client_restrictions", o->smtpd_client_restrictions }, { "smtpd_helo_restrictions", o->smtpd_helo_restrictions },
		      { "smtpd_sender_restrictions", o->smtpd_sender_restrictions }, { "smtpd_relay_restrictions", o->smtpd_relay_restrictions },
		      { "smtpd_recipient_restrictions", o->smtpd_recipient_restrictions }, { "smtpd_data_restrictions", o->smtpd_data_restrictions },
		      { "smtpd_end_of_data_restrictions", o->smtpd_end_of_data_restrictions }, { "smtpd_etrn_restrictions", o->smtpd_etrn_restrictions },
		      { "rbl_reply_maps", o->rbl_reply_maps } };

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		if (list_has(lists[i].words, spec))
			return lists[i].name;
	return "smtpd_restriction_classes";
}

static bool has_table(const struct restrict_set *s, const char *spec)
{
	const char *one;
	size_t it = 0;

	while (restrict_table_next(s, &it, &one))
		if (strcmp(one, spec) == 0)
			return true;
	return false;
}

/* Tables of restrictions; those of senders' logins and certificates have their own lists. What restrict_compile finds is told already. */
static void check_access(struct check *c)
{
	const struct conf *own;
	const struct restrict_set *first = NULL;
	const char *name, *spec;
	size_t at = 0;

	while (conf_variant_next(c->conf, &at, &name, &own)) {
		struct restrict_set *set;
		struct err e = { 0 };
		size_t it = 0;

		if (restrict_compile(own, c->a, &set, &e) < 0)
			continue;
		while (restrict_table_next(set, &it, &spec)) {
			const char *const param = names_table(own, spec);

			if (list_has(own->smtpd_sender_login_maps, spec) || list_has(own->relay_clientcerts, spec) || (first && has_table(first, spec)))
				continue;
			if (str_starts(str_c(spec), STR("cdb:")) || str_starts(str_c(spec), STR("hash:")))
				check_compiled(c, param, spec, false);
			else
				check_readable(c, param, spec);
		}
		first = first ? first : set;
	}
}

void check_maps(struct check *c)
{
	check_access(c);
	check_list(c, "smtpd_discard_ehlo_keyword_address_maps", c->conf->smtpd_discard_ehlo_keyword_address_maps, false);
	resolver_lists(c->conf, check_one_list, c);
	check_list(c, "mailbox_command_maps", c->conf->mailbox_command_maps, false);
	check_list(c, "relay_clientcerts", c->conf->relay_clientcerts, false);
	check_list(c, "smtpd_sender_login_maps", c->conf->smtpd_sender_login_maps, false);
	check_unnamed(c);
	check_recipients(c);
}
