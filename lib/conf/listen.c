/* Listener rows: [host:]port[/profile]. */
#include "conf/conf_priv.h"

#include <string.h>
#include <sys/socket.h>

#include "base/num.h"

static const struct {
	const char *service;
	uint16_t port;
	const char *profile;
} services[] = {
	{ "smtp", 25, "smtp" },
	{ "submission", 587, "submission" },
	{ "submissions", 465, "submissions" },
	{ "smtps", 465, "submissions" },
	{ "lmtp", 24, "lmtp" },
	{ "imap", 143, "imap" },
	{ "imaps", 993, "imaps" },
	{ "pop3", 110, "pop3" },
	{ "pop3s", 995, "pop3s" },
};

static int bad_row(struct str row, const char *why, struct err *e)
{
	return err_set(e, ERR_CONF, 0,
		       "\"%.*s\": %s (allowed: [address:]port[/profile], IPv6 in brackets)",
		       STR_ARG(str_sub(row, 0, 60)), why);
}

static int parse_port(struct str s, struct conf_listener *l)
{
	uint64_t port;

	for (size_t i = 0; i < ARRAY_LEN(services); i++)
		if (str_case_eq(s, str_c(services[i].service))) {
			l->port = services[i].port;
			return 0;
		}
	if (num_parse(s, 1, 65535, &port) < 0)
		return -1;
	l->port = (uint16_t)port;
	return 0;
}

static int parse_profile(struct str s, const char *fallback, struct conf_listener *l)
{
	if (s.n == 0) {
		l->profile = fallback;
		for (size_t i = 0; i < ARRAY_LEN(services); i++)
			if (services[i].port == l->port)
				l->profile = services[i].profile;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(services); i++)
		if (str_case_eq(s, str_c(services[i].profile))) {
			l->profile = services[i].profile;
			return 0;
		}
	return -1;
}

/* Returns the host part ("" when missing) and leaves the port in *rest. */
static int split_host(struct str *rest, struct str *host)
{
	const ptrdiff_t colon = str_rchr(*rest, ':');
	uint8_t addr[16];

	*host = STR("");
	if (colon < 0)
		return 0;
	*host = str_sub(*rest, 0, (size_t)colon);
	*rest = str_from(*rest, (size_t)colon + 1);
	if (host->n > 2 && host->p[0] == '[' && host->p[host->n - 1] == ']')
		*host = str_sub(*host, 1, host->n - 2);
	else if (str_chr(*host, ':') >= 0)
		return -1;
	if (str_eq(*host, STR("*"))) {
		*host = STR("");
		return 0;
	}
	return addr_parse(*host, addr);
}

int conf_host_port(struct str text, char host_out[CONF_HOST_MAX], uint16_t *port_out, struct err *e)
{
	struct str rest = text, host;
	uint64_t port;

	if (split_host(&rest, &host) < 0 || host.n == 0 || host.n >= CONF_HOST_MAX || num_parse(rest, 1, 65535, &port) < 0)
		return err_set(e, ERR_CONF, 0, "\"%.*s\": ADDRESS:PORT is wanted (IPv6 in brackets)", STR_ARG(str_sub(text, 0, 80)));
	(void)snprintf(host_out, CONF_HOST_MAX, "%.*s", STR_ARG(host));
	*port_out = (uint16_t)port;
	return 0;
}

struct sink {
	struct conf_listener *v;
	size_t n, max;
	const char *name;
};

static int add(struct sink *s, struct conf_listener l, const char *host, struct err *e)
{
	if (s->n == s->max)
		return err_set(e, ERR_CONF, 0, "more than %zu listeners", s->max);
	l.host = host;
	l.name = s->name;
	s->v[s->n++] = l;
	return 0;
}

static bool protocol_named(const struct conf *c, const char *word)
{
	for (size_t i = 0; i < c->inet_protocols.n; i++)
		if (strcmp(c->inet_protocols.v[i], word) == 0)
			return true;
	return false;
}

bool conf_protocol(const struct conf *c, int family)
{
	return protocol_named(c, "all") || protocol_named(c, family == AF_INET ? "ipv4" : "ipv6");
}

int conf_check_protocols(const struct conf *c, struct err *e)
{
	for (size_t i = 0; i < c->inet_protocols.n; i++) {
		const char *const word = c->inet_protocols.v[i];
		if (strcmp(word, "all") != 0 && strcmp(word, "ipv4") != 0 && strcmp(word, "ipv6") != 0)
			return err_set(e, ERR_CONF, 0, "\"%.60s\" (allowed: all, ipv4, ipv6)", word);
	}
	return c->inet_protocols.n > 0 ? 0 : err_set(e, ERR_CONF, 0, "empty (allowed: all, ipv4, ipv6)");
}

/* All addresses, of the families that there are to be. */
static int add_all(const struct conf *c, struct conf_listener l, struct sink *s, struct err *e)
{
	return add(s, l, !conf_protocol(c, AF_INET6) ? "0.0.0.0" : conf_protocol(c, AF_INET) ? "" : "::", e);
}

static int add_numeric(const struct conf *c, struct conf_listener l, const char *host, struct sink *s, struct err *e)
{
	return conf_protocol(c, strchr(host, ':') ? AF_INET6 : AF_INET) ? add(s, l, host, e) : 0;
}

/* A row without host listens on inet_interfaces. */
static int add_interfaces(const struct conf *c, struct conf_listener l, struct arena *a, struct sink *s, struct err *e)
{
	const size_t before = s->n;

	for (size_t i = 0; i < c->inet_interfaces.n; i++) {
		struct str name = str_c(c->inet_interfaces.v[i]);
		uint8_t addr[16];
		int r;

		if (name.n > 2 && name.p[0] == '[' && name.p[name.n - 1] == ']')
			name = str_sub(name, 1, name.n - 2);
		if (str_case_eq(name, STR("all")))
			r = add_all(c, l, s, e);
		else if (str_case_eq(name, STR("loopback-only")) || str_case_eq(name, STR("localhost")))
			r = add_numeric(c, l, "127.0.0.1", s, e) < 0 ? -1 : add_numeric(c, l, "::1", s, e);
		else if (addr_parse(name, addr) == 0)
			r = add_numeric(c, l, arena_cstr(a, name), s, e);
		else
			return err_set(e, ERR_CONF, 0, "inet_interfaces: \"%.*s\" (allowed: all, loopback-only, localhost, numeric addresses)",
				       STR_ARG(str_sub(name, 0, 60)));
		if (r < 0)
			return -1;
	}
	return s->n == before && c->inet_interfaces.n > 0 ? err_set(e, ERR_CONF, 0, "inet_interfaces has no address of inet_protocols") : 0;
}

static int add_row(const struct conf *c, struct str row, const char *default_profile, struct arena *a, struct sink *s, struct err *e)
{
	const ptrdiff_t slash = str_rchr(row, '/');
	struct str rest = slash < 0 ? row : str_sub(row, 0, (size_t)slash), host;
	struct conf_listener l = { 0 };
	const bool any = str_starts(row, STR("*:"));

	if (split_host(&rest, &host) < 0)
		return bad_row(row, "bad address", e);
	if (parse_port(rest, &l) < 0)
		return bad_row(row, "bad port", e);
	if (parse_profile(slash < 0 ? STR("") : str_from(row, (size_t)slash + 1), default_profile, &l) < 0)
		return bad_row(row, "unknown profile", e);
	if (l.profile == NULL)
		return bad_row(row, "this port needs a profile", e);
	if (any)
		return add_all(c, l, s, e);
	return host.n == 0 ? add_interfaces(c, l, a, s, e) : add(s, l, arena_cstr(a, host), e);
}

/* "smtp", "imap" or "pop3". */
static const char *service_of(const char *profile)
{
	return str_starts(str_c(profile), STR("imap")) ? "imap" : str_starts(str_c(profile), STR("pop3")) ? "pop3" : "smtp";
}

enum { LISTENERS_MAX = 64 };

/* The lines "listener.NAME" of one service. */
static int add_lines(const struct conf *c, const char *service, struct arena *a, struct sink *s, struct err *e)
{
	const char *name;
	struct str row;
	unsigned line;

	for (size_t i = 1; conf_variant_row(c, i, &name, &row, &line); i++) {
		const size_t before = s->n;
		s->name = name;
		if (row.n == 0)
			continue;
		if (add_row(c, row, NULL, a, s, e) < 0)
			return -1;
		if (strcmp(service_of(s->v[before].profile), service) != 0)
			s->n = before;
	}
	return 0;
}

int conf_listeners(const struct conf *c, struct conf_list rows, const char *default_profile,
		   struct arena *a, struct conf_listener **out, size_t *n_out, struct err *e)
{
	struct sink s = { ARENA_ARRAY(a, struct conf_listener, LISTENERS_MAX), 0, LISTENERS_MAX, "" };

	for (size_t i = 0; i < rows.n; i++)
		if (add_row(c, str_c(rows.v[i]), default_profile, a, &s, e) < 0)
			return -1;
	if (add_lines(c, default_profile, a, &s, e) < 0)
		return -1;
	*out = s.v;
	*n_out = s.n;
	return 0;
}

void conf_check_rows(const struct conf *c, struct trouble *t)
{
	const char *name;
	struct str row;
	unsigned line;

	for (size_t i = 1; conf_variant_row(c, i, &name, &row, &line); i++) {
		struct sink s = { ARENA_ARRAY(c->priv->arena, struct conf_listener, LISTENERS_MAX), 0, LISTENERS_MAX, name };
		struct err e = { 0 };
		if (row.n > 0 && add_row(c, row, NULL, c->priv->arena, &s, &e) < 0)
			trouble_error(t, line, "listener.%s: %s", name, e.text);
	}
}
