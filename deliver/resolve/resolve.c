/* resolve: tables, address classes (local, virtual alias, virtual mailbox, relay, default: in this order), accounts, and the
 * answer as a whole. What aliases do is in expand.c. */
#include "base/clock.h"
#include "deliver/resolve/resolve_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "log/log.h"
#include "map/source.h"
#include "os/os.h"

enum { TABLES_MAX = 256 };

const char *const class_words[] = { "local", "virtual", "virtual", "relay", "default" };

/* Parameters that name tables: where the list stands, and where the opened tables go. Lists of domains hold plain names too. */
static const struct table_row {
	const char *parameter;
	size_t list, tables;
	bool domains;
} table_rows[] = {
#define TABLES(parameter, member)                                                                  \
	{ #parameter, offsetof(struct conf, parameter), offsetof(struct resolver, member), false }
#define DOMAINS(parameter)                                                                         \
	{ #parameter, offsetof(struct conf, parameter), offsetof(struct resolver, parameter), true }
	TABLES(alias_maps, aliases),
	TABLES(virtual_alias_maps, virtual),
	TABLES(virtual_mailbox_maps, mailboxes),
	TABLES(local_recipient_maps, local_recipients),
	TABLES(relay_recipient_maps, relay_recipients),
	TABLES(relocated_maps, relocated),
	TABLES(mailbox_transport_maps, mailbox_transports),
	TABLES(fallback_transport_maps, fallback_transports),
	TABLES(header_checks, checks[CHECK_HEADER]),
	TABLES(body_checks, checks[CHECK_BODY]),
	TABLES(mime_header_checks, checks[CHECK_MIME]),
	TABLES(nested_header_checks, checks[CHECK_NESTED]),
	TABLES(smtp_header_checks, checks[CHECK_SMTP_HEADER]),
	TABLES(smtp_mime_header_checks, checks[CHECK_SMTP_MIME]),
	TABLES(smtp_nested_header_checks, checks[CHECK_SMTP_NESTED]),
	TABLES(smtp_body_checks, checks[CHECK_SMTP_BODY]),
	TABLES(smtp_generic_maps, generic),
	TABLES(canonical_maps, canonical),
	TABLES(sender_canonical_maps, sender_canonical),
	TABLES(recipient_canonical_maps, recipient_canonical),
	TABLES(sender_bcc_maps, sender_bcc),
	TABLES(recipient_bcc_maps, recipient_bcc),
	TABLES(transport_maps, transport),
	TABLES(sender_dependent_relayhost_maps, sender_relayhost),
	TABLES(sender_dependent_default_transport_maps, sender_transport),
	TABLES(smtpd_milter_maps, milters),
	TABLES(smtp_sasl_password_maps, passwords),
	TABLES(smtp_tls_policy_maps, tls_policy),
	DOMAINS(mydestination),
	DOMAINS(virtual_alias_domains),
	DOMAINS(virtual_mailbox_domains),
	DOMAINS(relay_domains),
#undef TABLES
#undef DOMAINS
};

static struct conf_list row_list(const struct table_row *row, const struct conf *c)
{
	struct conf_list l;

	memcpy(&l, (const char *)c + row->list, sizeof(l));
	return l;
}

static void *row_tables(const struct table_row *row, struct resolver *r)
{
	return (char *)r + row->tables;
}

void resolver_lists(const struct conf *c,
		    void (*fn)(void *ctx, const char *parameter, struct conf_list list), void *ctx)
{
	for (size_t i = 0; i < ARRAY_LEN(table_rows); i++)
		fn(ctx, table_rows[i].parameter, row_list(&table_rows[i], c));
}

bool conf_lists(struct conf_list l, const char *word)
{
	for (size_t i = 0; i < l.n; i++)
		if (str_case_eq(str_c(l.v[i]), str_c(word)))
			return true;
	return false;
}

/* --- start --- */

/* The same table under two parameters is opened once. */
int open_table(struct resolver *r, const char *spec, struct lookup **out, struct err *e)
{
	if (strncmp(spec, "proxy:", 6) == 0)
		spec += 6;
	for (size_t i = 0; i < r->n_opened; i++)
		if (strcmp(lookup_spec(r->opened[i]), spec) == 0) {
			*out = r->opened[i];
			return 0;
		}
	if (r->n_opened == TABLES_MAX)
		return err_set(e, ERR_CONF, 0, "more than %d tables", TABLES_MAX);
	if (lookup_open(spec, out, e) < 0)
		return -1;
	r->opened[r->n_opened++] = *out;
	return 0;
}

static bool is_table(const char *word)
{
	return strchr(word, ':') && word[0] != '[' && word[0] != '/';
}

/* What Postfix calls the system's accounts. */
static bool names_accounts(const char *word)
{
	return strcmp(word, "unix:passwd.byname") == 0 ||
	       strcmp(word, "proxy:unix:passwd.byname") == 0;
}

/* Entries of list that are tables; with only_tables others are mistakes. */
static int open_tables(struct resolver *r, const char *parameter, struct conf_list list,
		       bool only_tables, struct tables *out, struct err *e)
{
	out->parameter = parameter;
	out->v = ARENA_ARRAY(r->arena, struct lookup *, list.n ? list.n : 1);
	for (size_t i = 0; i < list.n; i++) {
		if ((!only_tables && !is_table(list.v[i])) || names_accounts(list.v[i]))
			continue;
		if (open_table(r, list.v[i], &out->v[out->n], e) < 0)
			return err_wrap(e, "%s", parameter);
		out->n++;
	}
	return 0;
}

static int open_domains(struct resolver *r, const char *parameter, struct conf_list list,
			struct domains *out, struct err *e)
{
	out->parameter = parameter;
	out->names = list;
	return open_tables(r, parameter, list, false, &out->tables, e);
}

static void accounts_refresh(struct resolver *r)
{
	if (r->accounts && !cdbfile_changed(r->accounts, r->accounts_path))
		return;
	cdbfile_close(&r->accounts);
	err_clear(&r->accounts_trouble);
	if (accounts_open(r->accounts_path, false, &r->accounts, &r->accounts_trouble) < 0)
		r->accounts_trouble.code = ERR_TEMP;
}

int resolver_new(const struct conf *conf, struct resolver **out, struct err *e)
{
	struct resolver *r = xzalloc(sizeof(*r));
	struct err unused = { 0 };

	r->conf = conf;
	r->arena = arena_new(0);
	r->opened = ARENA_ARRAY(r->arena, struct lookup *, TABLES_MAX);
	for (size_t i = 0; i < ARRAY_LEN(table_rows); i++) {
		const struct table_row *row = &table_rows[i];
		void *to = row_tables(row, r);
		const int k =
			row->domains
				? open_domains(r, row->parameter, row_list(row, conf), to, e)
				: open_tables(r, row->parameter, row_list(row, conf), true, to, e);

		if (k < 0) {
			resolver_free(&r);
			return -1;
		}
	}
	own_load(conf, r->arena, &r->own);
	if (srs_key_load(conf, &r->srs, &unused) < 0)	/* a tool without the right, or before the first start: such addresses are like any other */
		r->srs = (struct srs){ 0 };
	if (asprintf(&r->accounts_path, "%s/accounts.cdb", conf->state_directory) < 0)
		abort();
	accounts_refresh(r);
	*out = r;
	return 0;
}

void resolver_free(struct resolver **rp)
{
	struct resolver *r = *rp;

	*rp = NULL;
	if (!r)
		return;
	for (size_t i = 0; i < r->n_opened; i++)
		lookup_close(&r->opened[i]);
	cdbfile_close(&r->accounts);
	free(r->accounts_path);
	arena_free(&r->arena);
	free(r);
}

void resolver_refresh(struct resolver *r)
{
	for (size_t i = 0; i < r->n_opened; i++)
		if (lookup_refresh(r->opened[i]) && lookup_trouble(r->opened[i]))
			log_error("%s: %s", lookup_spec(r->opened[i]),
				  lookup_trouble(r->opened[i])->text);
	accounts_refresh(r);
}

void resolver_reload(struct resolver *r)
{
	for (size_t i = 0; i < r->n_opened; i++) {
		lookup_reload(r->opened[i]);
		if (lookup_trouble(r->opened[i]))
			log_error("%s: %s", lookup_spec(r->opened[i]),
				  lookup_trouble(r->opened[i])->text);
	}
	cdbfile_close(&r->accounts);
	accounts_refresh(r);
	if (!r->accounts)
		log_warning("accounts: %s", r->accounts_trouble.text);
}

void resolver_troubles(struct resolver *r,
		       void (*fn)(void *ctx, const char *parameter, const char *spec,
				  const struct err *why),
		       void *ctx)
{
	for (size_t k = 0; k < ARRAY_LEN(table_rows); k++) {
		const void *at = row_tables(&table_rows[k], r);
		const struct domains *d = at;
		const struct tables *t = table_rows[k].domains ? &d->tables : at;

		for (size_t i = 0; i < t->n; i++)
			if (lookup_trouble(t->v[i]))
				fn(ctx, t->parameter, lookup_spec(t->v[i]),
				   lookup_trouble(t->v[i]));
	}
	if (!r->accounts)
		fn(ctx, "state_directory", r->accounts_path, &r->accounts_trouble);
}

/* --- pieces of an answer --- */

void step(struct answer *an, const char *fmt, ...)
{
	char text[STEP_BYTES_MAX];
	va_list ap;

	if (!an->explain || an->n_steps >= STEPS_MAX)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	struct step *s = ARENA_NEW(an->a, struct step);

	s->text = arena_str(an->a, str_c(text));
	*an->steps_end = s;
	an->steps_end = &s->next;
	an->n_steps++;
}

int fail(struct answer *an, int code, const char *enhanced, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	an->code = code;
	an->enhanced = enhanced;
	an->text = arena_str(an->a, str_c(text));
	step(an, "%d %s %s", code, enhanced, text);
	return -1;
}

int trouble(struct answer *an, const struct err *e)
{
	log_error("%s", e->text);
	step(an, "trouble: %s", e->text);
	/* Paths are nothing for a client. */
	return fail(an, 451, "4.3.0", "Temporary lookup failure");
}

struct str address_text(struct arena *a, struct str local, struct str domain)
{
	const struct smtp_addr addr = { .local = local, .domain = domain };
	struct buf b;

	buf_init(&b, 4096);
	smtp_addr_format(&addr, &b);
	const struct str s = arena_str(a, buf_view(&b));

	buf_fini(&b);
	return s;
}

int final_add(struct answer *an, const char *kind, struct str address, struct str user,
	      struct str extension)
{
	if (an->n_finals >= an->r->conf->virtual_alias_expansion_limit)
		return fail(an, 451, "4.6.0", "Alias expansion error: more than %llu recipients",
			    (unsigned long long)an->r->conf->virtual_alias_expansion_limit);
	for (const struct final *f = an->finals; f; f = f->next)
		if (strcmp(f->kind, kind) == 0 && str_case_eq(f->user, user) &&
		    str_eq(f->extension, extension) &&
		    (strcmp(kind, "mailbox") == 0 || str_case_eq(f->address, address)))
			return 0;
	struct final *f = ARENA_NEW(an->a, struct final);

	*f = (struct final){ .kind = kind,
			     .address = arena_str(an->a, address),
			     .user = arena_str(an->a, user),
			     .extension = arena_str(an->a, extension),
			     .owner = an->owner };
	*an->finals_end = f;
	an->finals_end = &f->next;
	an->n_finals++;
	step(an, "%s %.*s%s%.*s%s%.*s", kind, STR_ARG(f->address), user.n ? ", account " : "",
	     STR_ARG(f->user), extension.n ? ", extension " : "", STR_ARG(f->extension));
	return 0;
}

bool is_postmaster(struct str local)
{
	return str_case_eq(local, STR("postmaster")) || str_case_eq(local, STR("mailer-daemon"));
}

struct str extension_split(const struct conf *c, struct str local, struct str *base_out)
{
	size_t at = 0;

	*base_out = local;
	if (is_postmaster(local) || str_case_eq(local, STR("double-bounce")))
		return STR("");
	while (at < local.n && !strchr(c->recipient_delimiter, local.p[at]))
		at++;
	/* With '-' among the delimiters owner-list and list-request stay names of their own. */
	if (at == 0 || at >= local.n ||
	    (local.p[at] == '-' &&
	     (str_case_starts(local, STR("owner-")) || str_case_ends(local, STR("-request")))))
		return STR("");
	*base_out = str_sub(local, 0, at);
	return str_from(local, at + 1);
}

/* --- tables --- */

/* Where in the source of a compiled table does key stand? 0: not found. Only for explanations. */
static unsigned source_line(const struct lookup *l, struct str key)
{
	struct buf text, space;
	struct source s;
	struct str line, k, v;
	unsigned found = 0;
	int r;

	buf_init(&text, SOURCE_FILE_MAX);
	buf_init(&space, SOURCE_KEY_MAX);
	if (file_read(lookup_source(l), SOURCE_FILE_MAX, &text, NULL) < 0) {
		buf_fini(&text);
		return 0;
	}
	source_init(&s, buf_view(&text));
	while (!found && (r = source_next(&s, &line, NULL)) != 0)
		if (r > 0 &&
		    ((source_alias(line, &space, &k, &v, NULL) == 0 && str_case_eq(k, key)) ||
		     (source_pair(line, true, &k, &v, NULL) == 0 && str_case_eq(k, key))))
			found = s.line;
	source_fini(&s);
	buf_fini(&text);
	buf_fini(&space);
	return found;
}

static bool source_newer(const struct lookup *l)
{
	struct stat source, compiled;

	return lookup_source(l) && lookup_file(l) &&
	       strcmp(lookup_source(l), lookup_file(l)) != 0 &&
	       stat(lookup_source(l), &source) == 0 && stat(lookup_file(l), &compiled) == 0 &&
	       source.st_mtim.tv_sec > compiled.st_mtim.tv_sec;
}

static void step_lookup(struct answer *an, const struct tables *t, const struct lookup *l,
			unsigned line, struct str key, struct str value)
{
	char number[16] = "";

	if (!an->explain)
		return;
	if (!line && lookup_source(l))
		line = source_line(l, key);
	if (line)
		(void)snprintf(number, sizeof(number), ":%u", line);
	step(an, "%s: %s%s: \"%.*s\" is %.*s%s", t->parameter, lookup_spec(l), number, STR_ARG(key),
	     STR_ARG(value),
	     source_newer(l) ? " (warning: the source is newer than the compiled map)" : "");
}

int tables_get(struct answer *an, const struct tables *t, struct str key, bool whole,
	       struct str *value_out)
{
	struct buf b;
	int r = 1;

	buf_init(&b, LOOKUP_VALUE_MAX);
	for (size_t i = 0; r == 1 && i < t->n; i++) {
		struct err e = { 0 };
		unsigned line = 0;

		if (!whole && lookup_is_pattern(t->v[i]))
			continue;
		r = lookup_get(t->v[i], key, &b, &line, &e);
		if (r < 0)
			trouble(an, &e);
		if (r == 0) {
			*value_out = arena_str(an->a, buf_view(&b));
			step_lookup(an, t, t->v[i], line, key, *value_out);
		}
	}
	buf_fini(&b);
	return r;
}

/* --- classes --- */

/* 1 yes, 0 no, -1. */
static int domains_have(struct answer *an, const struct domains *d, struct str domain)
{
	struct str value;

	for (size_t i = 0; i < d->names.n; i++) {
		const struct str name = str_c(d->names.v[i]);

		if (str_case_eq(name, domain) || (name.n > 1 && name.p[0] == '.' &&
						  domain.n > name.n && str_case_ends(domain, name)))
			return 1;
	}
	const int r = tables_get(an, &d->tables, domain, true, &value);

	return r < 0 ? -1 : r == 0;
}

static bool is_own_literal(const struct resolver *r, struct str domain)
{
	uint8_t addr[16];

	if (domain.n == 0 || domain.p[0] != '[' || !smtp_literal_parse(domain, addr))
		return false;
	return own_has(&r->own, addr);
}

int classify(struct answer *an, struct str domain, enum addr_class *out)
{
	const struct resolver *r = an->r;
	const struct {
		const struct domains *d;
		enum addr_class class;
	} rows[] = { { &r->mydestination, CLASS_LOCAL },
		     { &r->virtual_alias_domains, CLASS_VIRTUAL_ALIAS },
		     { &r->virtual_mailbox_domains, CLASS_VIRTUAL_MAILBOX },
		     { &r->relay_domains, CLASS_RELAY } };

	if (is_own_literal(r, domain)) {
		step(an, "%.*s is an address of this machine: class local", STR_ARG(domain));
		*out = CLASS_LOCAL;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int has = domains_have(an, rows[i].d, domain);

		/* A domain of accounts is one, even when the default of virtual_alias_domains finds it in a table with a catch-all. */
		if (has > 0 && rows[i].class == CLASS_VIRTUAL_ALIAS) {
			const int mailbox = domains_have(an, &r->virtual_mailbox_domains, domain);

			has = mailbox < 0 ? -1 : !mailbox;
		}
		if (has < 0)
			return -1;
		if (has) {
			step(an, "%.*s is in %s: class %s", STR_ARG(domain), rows[i].d->parameter,
			     class_words[rows[i].class]);
			*out = rows[i].class;
			return 0;
		}
	}
	step(an, "%.*s is none of our domains: class default", STR_ARG(domain));
	*out = CLASS_DEFAULT;
	return 0;
}

/* --- accounts --- */

static int account_get(struct answer *an, struct str name, struct str domain, struct account *out)
{
	const struct conf *c = an->r->conf;
	struct err e = { 0 };

	if (!an->r->accounts)
		return trouble(an, &an->r->accounts_trouble);
	const struct str full = domain.n ? address_text(an->a, name, domain) : name;
	const int r = accounts_get(an->r->accounts, full, (uid_t)c->auth_min_uid, out, &e);

	if (r < 0 && e.code != ERR_NOENT)
		return trouble(an, &e);
	if (r == 0)
		step(an, "account %s: uid %u, maildir %s", out->name, (unsigned)out->uid,
		     out->maildir);
	an->limited |= r == 0 && (out->quota_bytes || out->quota_count);
	return r == 0 ? 0 : 1;
}

int account_find(struct answer *an, struct str name, struct str domain, struct account *out,
		 struct str *extension_out)
{
	struct str base;
	int r = account_get(an, name, domain, out);

	*extension_out = STR("");
	if (r != 1)
		return r;
	const struct str ext = extension_split(an->r->conf, name, &base);

	if (base.n == name.n)
		return 1;
	r = account_get(an, base, domain, out);
	if (r == 0)
		*extension_out = ext;
	return r;
}
