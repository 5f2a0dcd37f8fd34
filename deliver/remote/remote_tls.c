/* TLS policy: a level from the configuration or from the next hop's entry in smtp_tls_policy_maps ("verify match=hostname:nexthop"), and what DANE makes of it for one
 * server (RFC 7672 2.2). Pure but for the certificate of a connection. */
#include <string.h>

#include "base/enc.h"
#include "deliver/remote/remote_priv.h"

static const char *const level_words[] = {
	[TLS_NONE] = "none", [TLS_MAY] = "may", [TLS_ENCRYPT] = "encrypt", [TLS_FINGERPRINT] = "fingerprint", [TLS_VERIFY] = "verify", [TLS_SECURE] = "secure",
	[TLS_DANE] = "dane", [TLS_DANE_ONLY] = "dane-only",
};

static int level_parse(struct str word, enum tls_level *out)
{
	for (size_t i = 0; i < ARRAY_LEN(level_words); i++)
		if (str_case_eq(word, str_c(level_words[i]))) {
			*out = (enum tls_level)i;
			return 0;
		}
	return -1;
}

static int match_add(struct tls_policy *p, struct arena *a, struct str name, struct err *e)
{
	if (p->n_match == ARRAY_LEN(p->match))
		return err_set(e, ERR_CONF, 0, "TLS policy: too many names");
	p->match[p->n_match++] = arena_str(a, name);
	return 0;
}

static int match_list(struct tls_policy *p, struct arena *a, struct conf_list l, struct err *e)
{
	for (size_t i = 0; i < l.n; i++)
		if (match_add(p, a, str_c(l.v[i]), e) < 0)
			return -1;
	return 0;
}

static int take_word(struct tls_policy *p, struct arena *a, struct str word, struct err *e)
{
	struct str names;

	if (!str_case_starts(word, STR("match=")))	/* protocols=, ciphers= …: TLS 1.2 and newer are all that is spoken */
		return str_chr(word, '=') > 0 ? 0 : err_set(e, ERR_CONF, 0, "TLS policy: what is \"%.*s\"?", STR_ARG(word));
	names = str_from(word, 6);
	/* Fingerprints hold colons: they are divided by "|". */
	while (names.n > 0)
		if (match_add(p, a, str_split(&names, p->level == TLS_FINGERPRINT ? '|' : ':'), e) < 0)
			return -1;
	return 0;
}

int tls_policy_parse(const struct conf *c, struct str entry, struct arena *a, struct tls_policy *out, struct err *e)
{
	struct tls_policy p = { 0 };
	struct str rest = str_trim(entry.n > 0 ? entry : str_c(c->smtp_tls_security_level));
	const struct str word = str_split(&rest, ' ');

	if (level_parse(word, &p.level) < 0)
		return err_set(e, ERR_CONF, 0, "TLS policy: unknown level \"%.*s\"", STR_ARG(word));
	while ((rest = str_trim(rest)).n > 0)
		if (take_word(&p, a, str_split(&rest, ' '), e) < 0)
			return -1;
	if (p.n_match == 0) {
		const struct conf_list none = { 0 };
		const struct conf_list l = p.level == TLS_VERIFY ? c->smtp_tls_verify_cert_match : p.level == TLS_SECURE ? c->smtp_tls_secure_cert_match
					   : p.level == TLS_FINGERPRINT ? c->smtp_tls_fingerprint_cert_match : none;
		if (match_list(&p, a, l, e) < 0)
			return -1;
	}
	if (p.level == TLS_FINGERPRINT && p.n_match == 0)
		return err_set(e, ERR_CONF, 0, "TLS policy: level fingerprint without fingerprints");
	*out = p;
	return 0;
}

/* RFC 7672 2.2: records that are vouched for demand TLS; those that can be used demand that the server proves itself by them; a lookup that failed means that
 * records may be there: the server is left alone. */
int tls_level_for(const struct tls_policy *p, bool secure_names, enum names_status st, bool secure, const struct tls_tlsa *v, size_t n, enum tls_level *out)
{
	bool usable = false;

	if (secure_names && st == NAMES_TEMPORARY)
		return -1;
	for (size_t i = 0; i < n; i++)
		usable |= (v[i].usage == 2 || v[i].usage == 3) && v[i].selector <= 1 && v[i].matching <= 2;
	if (secure_names && st == NAMES_FOUND && secure && usable)
		*out = TLS_DANE;
	else if (p->level == TLS_DANE_ONLY)
		return -1;
	else
		*out = secure_names && st == NAMES_FOUND && secure && n > 0 ? TLS_ENCRYPT : TLS_MAY;
	return 0;
}

bool tls_obeys_sts(const struct job *j)
{
	return j->sts != STS_NONE && j->by_mx && j->fallback == 0 && j->policy_text.n == 0 &&
	       (j->tls.level == TLS_MAY || j->tls.level == TLS_ENCRYPT || j->tls.level == TLS_DANE);
}

bool tls_sts_names(const struct job *j, const char *host)
{
	for (size_t i = 0; i < j->n_sts_mx; i++)
		if (sts_mx_matches(j->sts_mx[i], str_c(host)))
			return true;
	return false;
}

const char *tls_failure_word(const char *why)
{
	static const struct { const char *part, *word; } rows[] = {
		{ "DANE", "validation-failure" }, { "ostname mismatch", "certificate-host-mismatch" }, { "expired", "certificate-expired" }, { "certificate verify failed", "certificate-not-trusted" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (strstr(why, rows[i].part))
			return rows[i].word;
	return "validation-failure";
}

size_t tls_names(const struct job *j, const char *host, struct str out[8])
{
	size_t n = 0;

	for (size_t i = 0; i < j->tls.n_match && n < 8; i++) {
		const struct str m = j->tls.match[i];
		if (str_case_eq(m, STR("hostname")))
			out[n++] = str_c(host);
		else if (str_case_eq(m, STR("nexthop")))
			out[n++] = str_c(j->domain);
		else if (str_case_eq(m, STR("dot-nexthop")))
			out[n++] = str_c(arena_printf(j->a, ".%s", j->domain));
		else
			out[n++] = m;
	}
	return n;
}

static bool same_hex(struct str text, const unsigned char digest[32])
{
	struct buf plain, bytes;

	buf_init(&plain, 256);
	buf_init(&bytes, 128);
	for (size_t i = 0; i < text.n && i < 128; i++)
		if (text.p[i] != ':')
			buf_ch(&plain, text.p[i]);
	const bool ok = hex_decode(&bytes, buf_view(&plain)) == 0 && bytes.n == 32 && memcmp(bytes.p, digest, 32) == 0;
	buf_fini(&plain);
	buf_fini(&bytes);
	return ok;
}

bool tls_fingerprint_ok(const struct tls_policy *p, const struct conn *c)
{
	unsigned char cert[32], key[32];

	if (conn_tls_fingerprints(c, cert, key) < 0)
		return false;
	for (size_t i = 0; i < p->n_match; i++)
		if (same_hex(p->match[i], cert) || same_hex(p->match[i], key))
			return true;
	return false;
}
