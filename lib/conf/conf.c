/* Loading: file to settings, settings to fields, then what only holds between parameters. Every mistake is reported,
 * not only the first; warnings do not prevent a start. */
#include "conf/conf_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PROBLEMS_TOLD_MAX = 1 << 20 };

static void trouble_line(struct trouble *t, unsigned line, const char *kind, const char *fmt,
			 va_list ap) __attribute__((format(printf, 4, 0)));
static void trouble_line(struct trouble *t, unsigned line, const char *kind, const char *fmt,
			 va_list ap)
{
	struct err text;
	char raw[1024];

	if (!t->out)
		return;
	(void)vsnprintf(raw, sizeof(raw), fmt, ap);
	err_set(&text, ERR_CONF, 0, "%s", raw); /* one printable line */
	if (line)
		buf_printf(t->out, "%s:%u: %s%s\n", t->file, line, kind, text.text);
	else
		buf_printf(t->out, "%s: %s%s\n", t->file, kind, text.text);
}

void trouble_error(struct trouble *t, unsigned line, const char *fmt, ...)
{
	va_list ap;

	t->errors++;
	va_start(ap, fmt);
	trouble_line(t, line, "", fmt, ap);
	va_end(ap);
}

void trouble_warning(struct trouble *t, unsigned line, const char *fmt, ...)
{
	va_list ap;

	t->warnings++;
	va_start(ap, fmt);
	trouble_line(t, line, "warning: ", fmt, ap);
	va_end(ap);
}

/* --- reading --- */

/* Who can write the configuration can become root. */
static int check_owner(const char *file, const struct stat *st, struct err *e)
{
	if (!S_ISREG(st->st_mode))
		return err_set(e, ERR_CONF, 0, "%s: not a regular file", file);
	if (geteuid() != 0)
		return 0;
	if (st->st_uid != 0)
		return err_set(e, ERR_CONF, 0, "%s: belongs to uid %u, must belong to root", file,
			       (unsigned)st->st_uid);
	if (st->st_mode & (S_IWGRP | S_IWOTH))
		return err_set(e, ERR_CONF, 0, "%s: mode %04o: group or others may write it", file,
			       (unsigned)st->st_mode & 07777);
	return 0;
}

static int read_fd(int fd, const char *file, struct buf *out, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(e, ERR_CONF, errno, "%s", file);
	if (check_owner(file, &st, e) < 0)
		return -1;
	for (;;) {
		char *p = buf_room(out, 65536);
		ssize_t n;

		if (!p)
			return err_set(e, ERR_CONF, 0, "%s: larger than %d bytes", file,
				       CONF_FILE_MAX);
		n = read(fd, p, 65536);
		if (n < 0 && errno != EINTR)
			return err_set(e, ERR_CONF, errno, "%s", file);
		if (n == 0)
			return 0;
		buf_added(out, n > 0 ? (size_t)n : 0);
	}
}

static int read_file(const char *file, struct buf *out, struct err *e)
{
	const int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return err_set(e, ERR_CONF, errno, "%s", file);
	const int r = read_fd(fd, file, out, e);

	close(fd);
	return r;
}

/* --- settings to fields --- */

static void store(struct conf *c, const struct param *p, struct trouble *t)
{
	const struct setting *s = conf_setting(c, p);
	struct err e = { 0 };
	struct str text = { 0 };
	int r = conf_value(c, p, s->text, &text, &e);

	if (r == 0)
		r = conf_store(c, p, text, &e);
	if (r == 0)
		return;
	trouble_error(t, s->line, "%s: %s", p->name, e.text);
	/* The field must hold something sane: later checks read it. */
	if (conf_value(c, p, str_c(p->def), &text, NULL) < 0 || conf_store(c, p, text, NULL) < 0)
		(void)!conf_store(c, p, STR(""), NULL);
}

void conf_store_all(struct conf *c, struct trouble *t)
{
	for (size_t i = 0; i < conf_n_params; i++)
		if (conf_params[i].type != PARAM_T_SECTION)
			store(c, &conf_params[i], t);
}

static void fill_defaults(struct conf *c)
{
	for (size_t i = 0; i < conf_n_params; i++) {
		struct setting *s = &c->priv->params[i];

		s->name = conf_params[i].name;
		if (!s->line)
			s->text = str_c(conf_params[i].def);
	}
}

/* --- names that are no parameter --- */

static void note_reference(void *ctx, struct str name)
{
	static char yes;

	map_set(ctx, name, &yes);
}

static struct map *references(const struct conf *c)
{
	struct map *seen = map_new();
	size_t it = 0;
	struct str name;
	void *s;

	for (size_t i = 0; i < conf_n_params; i++)
		conf_references(c->priv->params[i].text, note_reference, seen);
	while (map_next(c->priv->own, &it, &name, &s))
		conf_references(((const struct setting *)s)->text, note_reference, seen);
	for (size_t i = 0; i < c->smtpd_restriction_classes.n; i++)
		note_reference(seen, str_c(c->smtpd_restriction_classes.v[i]));
	return seen;
}

static int by_line(const void *a, const void *b)
{
	const struct setting *const *x = a, *const *y = b;

	return (*x)->line < (*y)->line ? -1 : (*x)->line > (*y)->line;
}

static void check_own_name(const struct setting *s, struct trouble *t)
{
	const char *const near = param_suggest(str_c(s->name)), *const instead = param_instead(str_c(s->name));

	if (instead)
		trouble_warning(t, s->line, "%s: not used by Postern: %s", s->name, instead);
	else if (param_is_postfix(str_c(s->name)))
		trouble_warning(t, s->line, "%s: not used by Postern", s->name);
	else if (near)
		trouble_error(
			t, s->line,
			"%s: no such parameter, and no value refers to it; meant is perhaps %s",
			s->name, near);
	else
		trouble_error(t, s->line, "%s: no such parameter, and no value refers to it",
			      s->name);
}

static void check_own_names(const struct conf *c, struct trouble *t)
{
	const size_t n = map_count(c->priv->own);
	const struct setting **v = ARENA_ARRAY(c->priv->arena, const struct setting *, n ? n : 1);
	struct map *seen = references(c);
	size_t it = 0, k = 0;
	struct str name;
	void *s;

	while (map_next(c->priv->own, &it, &name, &s))
		v[k++] = s;
	qsort(v, k, sizeof(v[0]), by_line);
	for (size_t i = 0; i < k; i++)
		if (!map_get(seen, str_c(v[i]->name)) && !conf_is_listener(str_c(v[i]->name)))
			check_own_name(v[i], t);
	map_free(&seen);
}

/* --- what holds between parameters --- */

static void check_listeners(const struct conf *c, const char *name, struct conf_list rows,
			    const char *profile, struct trouble *t)
{
	struct conf_listener *l;
	struct err e = { 0 };
	size_t n;

	if (conf_listeners(c, rows, profile, c->priv->arena, &l, &n, &e) < 0)
		trouble_error(t, conf_setting(c, param_find(str_c(name)))->line, "%s: %s", name,
			      e.text);
}

/* Lists of networks; files and maps are left to those who open them. */
static void check_networks(const struct conf *c, const char *name, struct conf_list list,
			   struct trouble *t)
{
	for (size_t i = 0; i < list.n; i++) {
		const struct str word = str_c(list.v[i]);
		struct err e = { 0 };
		struct cidr net;

		if (word.p[0] == '/' || str_starts(word, STR("cidr:")) ||
		    str_starts(word, STR("hash:")))
			trouble_error(t, conf_setting(c, param_find(str_c(name)))->line,
				      "%s: \"%s\": files are not read here (allowed: networks)",
				      name, word.p);
		else if (cidr_parse(word, &net, &e) < 0)
			trouble_error(t, conf_setting(c, param_find(str_c(name)))->line, "%s: %s",
				      name, e.text);
	}
}

static void check_directories(const struct conf *c, struct trouble *t)
{
	static const char *const names[] = { "run_directory", "state_directory", "queue_directory",
					     "libexec_directory", "virtual_mail_directory" };
	const char *const values[] = { c->run_directory, c->state_directory, c->queue_directory,
				       c->libexec_directory, c->virtual_mail_directory };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (values[i][0] != '/' || strstr(values[i], "/../"))
			trouble_error(t, conf_setting(c, param_find(str_c(names[i])))->line,
				      "%s: \"%s\" (allowed: an absolute path)", names[i],
				      values[i]);
}

bool conf_is_score(const char *text)
{
	char *end;
	const double score = strtod(text, &end);

	return *end == '\0' && isfinite(score);
}

bool conf_list_has(struct conf_list l, const char *word)
{
	for (size_t i = 0; i < l.n; i++)
		if (strcmp(l.v[i], word) == 0)
			return true;
	return false;
}

const char *conf_list_stray(struct conf_list some, struct conf_list all)
{
	for (size_t i = 0; i < some.n; i++)
		if (!conf_list_has(all, some.v[i]))
			return some.v[i];
	return NULL;
}

static bool list_has(struct conf_list list, const char *const *words, size_t n)
{
	for (size_t i = 0; i < list.n; i++)
		for (size_t k = 0; k < n; k++)
			if (str_case_eq(str_c(list.v[i]), str_c(words[k])))
				return true;
	return false;
}

/* As Postfix refuses to run: without one of these, anybody may relay. */
static void check_relay(const struct conf *c, struct trouble *t)
{
	static const char *const safe[] = {
		"reject_unauth_destination", "defer_unauth_destination", "reject", "defer",
		"defer_if_permit",	     "check_relay_domains"
	};

	if (!list_has(c->smtpd_relay_restrictions, safe, ARRAY_LEN(safe)) &&
	    !list_has(c->smtpd_recipient_restrictions, safe, ARRAY_LEN(safe)))
		trouble_error(
			t, conf_setting(c, param_find(STR("smtpd_relay_restrictions")))->line,
			"smtpd_relay_restrictions: neither this nor smtpd_recipient_restrictions "
			"has reject_unauth_destination: an open relay");
}

void conf_check_connection(const struct conf *c, struct trouble *t)
{
	check_networks(c, "mynetworks", c->mynetworks, t);
	check_networks(c, "smtpd_client_event_limit_exceptions", c->smtpd_client_event_limit_exceptions, t);
	check_networks(c, "smtpd_authorized_xforward_hosts", c->smtpd_authorized_xforward_hosts, t);
	check_networks(c, "smtpd_sasl_exceptions_networks", c->smtpd_sasl_exceptions_networks, t);
	if (c->smtpd_upstream_proxy_protocol[0] && c->smtpd_upstream_proxy_hosts.n == 0)
		trouble_error(t, conf_setting(c, param_find(STR("smtpd_upstream_proxy_protocol")))->line,
			      "smtpd_upstream_proxy_protocol: smtpd_upstream_proxy_hosts is empty: whose header is to be believed?");
	check_relay(c, t);
}

static void check_format(const struct conf *c, const char *name, const char *value, const char *wrong, struct trouble *t)
{
	if (wrong)
		trouble_error(t, conf_setting(c, param_find(str_c(name)))->line, "%s: \"%s\": %s", name, value, wrong);
}

static void check_certificates(const struct conf *c, struct trouble *t)
{
	const unsigned line = conf_setting(c, param_find(STR("tls_server_sni_maps")))->line;

	if ((c->tls_cert_file[0] != 0) != (c->tls_key_file[0] != 0))
		trouble_error(t, 0, "tls_cert_file, tls_key_file: one is set without the other");
	if ((c->smtp_tls_cert_file[0] != 0) != (c->smtp_tls_key_file[0] != 0))
		trouble_error(t, 0, "smtp_tls_cert_file, smtp_tls_key_file: one is set without the other");
	if (c->tls_alt_cert_files.n != c->tls_alt_key_files.n || c->tls_alt_cert_files.n > 2)
		trouble_error(t, 0, "tls_alt_cert_files, tls_alt_key_files: %zu certificates and %zu keys (allowed: as many of both, at most 2)",
			      c->tls_alt_cert_files.n, c->tls_alt_key_files.n);
	if (c->tls_alt_cert_files.n > 0 && !c->tls_cert_file[0])
		trouble_error(t, 0, "tls_alt_cert_files: tls_cert_file is not set");
	if (c->tls_server_sni_maps.n > 0 && !c->tls_cert_file[0])
		trouble_error(t, line, "tls_server_sni_maps: tls_cert_file, for clients that ask for no name, is not set");
	for (size_t i = 0; i < c->tls_server_sni_maps.n; i++)
		if (!str_starts(str_c(c->tls_server_sni_maps.v[i]), STR("texthash:/")))
			trouble_error(t, line, "tls_server_sni_maps: %s (allowed: texthash:/file; it is read whole and names files, so nothing is compiled)",
				      c->tls_server_sni_maps.v[i]);
}

static void check_together(const struct conf *c, struct trouble *t)
{
	struct err e = { 0 };

	if (conf_check_protocols(c, &e) < 0) {
		trouble_error(t, conf_setting(c, param_find(STR("inet_protocols")))->line, "inet_protocols: %s", e.text);
		return;		/* what listens follows from it */
	}
	check_listeners(c, "smtp_listeners", c->smtp_listeners, "smtp", t);
	check_listeners(c, "imap_listeners", c->imap_listeners, "imap", t);
	check_listeners(c, "pop3_listeners", c->pop3_listeners, "pop3", t);
	conf_check_connection(c, t);
	check_networks(c, "auth_throttle_exempt", c->auth_throttle_exempt, t);
	check_networks(c, "webmail_hosts", c->webmail_hosts, t);
	check_networks(c, "smtpd_authorized_xclient_hosts", c->smtpd_authorized_xclient_hosts, t);
	check_networks(c, "smtpd_upstream_proxy_hosts", c->smtpd_upstream_proxy_hosts, t);
	check_directories(c, t);
	check_format(c, "mail_location", c->mail_location, conf_place_wrong(str_c(c->mail_location)), t);
	check_format(c, "pop3_uidl_format", c->pop3_uidl_format, conf_uidl_wrong(str_c(c->pop3_uidl_format)), t);
	check_certificates(c, t);
	for (const char *p = c->recipient_delimiter; *p; p++)
		if (ch_alnum(*p) || !strchr("+-_=.#!%^~/*&", *p))
			trouble_error(
				t, conf_setting(c, param_find(STR("recipient_delimiter")))->line,
				"recipient_delimiter: '%c' (allowed: characters of +-_=.#!%%^~/*&)",
				*p);
}

/* --- the interface --- */

static void set_place(struct conf *c, const char *file)
{
	struct arena *a = c->priv->arena;
	char *real = realpath(file, NULL);

	c->conf_file = arena_strdup(a, real ? real : file);
	free(real);
	const ptrdiff_t slash = str_rchr(str_c(c->conf_file), '/');

	c->conf_dir = slash > 0	   ? arena_cstr(a, str_sub(str_c(c->conf_file), 0, (size_t)slash))
		      : slash == 0 ? "/"
				   : ".";
}

static struct conf *conf_new(void)
{
	struct conf *c = xzalloc(sizeof(*c));

	c->priv = xzalloc(sizeof(*c->priv));
	c->priv->arena = arena_new(0);
	c->priv->params = ARENA_ARRAY(c->priv->arena, struct setting, conf_n_params);
	c->priv->own = map_new();
	return c;
}

static int conf_load_text(struct conf *c, struct str text, const char *file, struct buf *problems,
			  struct err *e)
{
	struct trouble t = { .file = file, .out = problems };

	conf_scan(c, text, &t);
	fill_defaults(c);
	conf_derive_names(c, &t);
	conf_store_all(c, &t);
	conf_derive_networks(c, &t);
	store(c, param_find(STR("mynetworks")), &t);
	check_own_names(c, &t);
	check_together(c, &t);
	conf_variants(c, &t);
	conf_check_rows(c, &t);
	if (t.errors)
		return err_set(e, ERR_CONF, 0, "%s: %u problem%s", file, t.errors,
			       t.errors == 1 ? "" : "s");
	return 0;
}

int conf_load(const char *file, struct conf **out, struct buf *problems, struct err *e)
{
	struct conf *c = conf_new();
	struct buf text;
	int r;

	buf_init(&text, CONF_FILE_MAX + 65536);
	r = read_file(file, &text, e);
	if (r < 0 && problems && e)
		buf_printf(problems, "%s\n", e->text);
	if (r == 0) {
		set_place(c, file);
		r = conf_load_text(c, buf_view(&text), file, problems, e);
	}
	buf_fini(&text);
	if (r < 0) {
		conf_free(&c);
		return -1;
	}
	*out = c;
	return 0;
}

int conf_parse(struct str text, const char *file, struct conf **out, struct buf *problems,
	       struct err *e)
{
	struct conf *c = conf_new();

	set_place(c, file);
	if (conf_load_text(c, text, file, problems, e) < 0) {
		conf_free(&c);
		return -1;
	}
	*out = c;
	return 0;
}

void conf_free(struct conf **cp)
{
	struct conf *c = *cp;

	*cp = NULL;
	if (!c)
		return;
	map_free(&c->priv->own);
	arena_free(&c->priv->arena);
	free(c->priv);
	free(c);
}

const char *conf_default_file(void)
{
	return POSTERN_SYSCONFDIR "/postern/postern.conf";
}

bool conf_lookup(const struct conf *c, const char *name, struct str *out)
{
	const struct param *p = param_find(str_c(name));
	const struct setting *s = p ? conf_setting(c, p) : map_get(c->priv->own, str_c(name));

	if (!s)
		return false;
	*out = s->text;
	return true;
}

int conf_load_told(const char *program, const char *file, bool warnings, struct conf **out)
{
	struct buf problems;
	struct err e = { 0 };

	buf_init(&problems, PROBLEMS_TOLD_MAX);
	const int r = conf_load(file ? file : conf_default_file(), out, &problems, &e);
	if (problems.n > 0 && (r < 0 || warnings))
		(void)fprintf(stderr, "%s%s", problems.p, problems.p[problems.n - 1] == '\n' ? "" : "\n");
	if (r < 0)
		(void)fprintf(stderr, "%s: %s\n", program, e.text);
	buf_fini(&problems);
	return r;
}
