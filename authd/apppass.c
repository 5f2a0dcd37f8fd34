/* Records of application passwords, made by postern-user and judged by the check worker. */
#include "authd/apppass.h"

#include <string.h>

#include "authd/scram.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/enc.h"
#include "base/num.h"
#include "map/accounts.h"

/* No l and no o, which look like digits; a telephone's first keyboard has all of these. */
static const char letters[] = "abcdefghijkmnpqrstuvwxyz";

static const struct { const char *name; unsigned bit; } services[] = { { "imap", APP_IMAP }, { "pop3", APP_POP3 }, { "smtp", APP_SMTP } };

bool app_name_valid(struct str name)
{
	return name.n <= APP_NAME_MAX && account_name_valid(name);
}

unsigned app_service(struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(services); i++)
		if (str_eq(name, str_c(services[i].name)))
			return services[i].bit;
	return str_eq(name, STR("pop")) ? APP_POP3 : APP_OTHER;
}

int app_services_parse(struct str s, unsigned *out, struct err *e)
{
	unsigned got = 0;

	if (str_eq(s, STR("all"))) {
		*out = APP_ALL;
		return 0;
	}
	while (s.p) {
		const struct str word = str_split(&s, ',');
		const unsigned bit = app_service(word);

		if (bit == APP_OTHER || str_eq(word, STR("pop")))
			return err_set(e, ERR_INPUT, 0, "%.*s: not a service (imap, pop3, smtp)", STR_ARG(word));
		got |= bit;
	}
	*out = got;
	return 0;
}

void app_services_format(unsigned bits, struct buf *out)
{
	const char *before = "";

	if (bits == APP_ALL) {
		buf_c(out, "all");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(services); i++) {
		if (!(bits & services[i].bit))
			continue;
		buf_printf(out, "%s%s", before, services[i].name);
		before = ",";
	}
}

/* --- records --- */

static int bytes_parse(struct str hex, uint8_t *out, size_t n)
{
	struct buf b;

	buf_init(&b, 256);
	const bool ok = hex.n == n * 2 && hex_decode(&b, hex) == 0 && b.n == n;
	if (ok)
		memcpy(out, b.p, n);
	buf_fini(&b);
	return ok ? 0 : -1;
}

static int row_parse(struct str line, struct app_password *out, struct err *e)
{
	struct str rest = line;
	struct app_password r = { .id = str_split(&rest, ' ') };
	const struct str made = str_split(&rest, ' '), expires = str_split(&rest, ' '), for_what = str_split(&rest, ' '), salt = str_split(&rest, ' '),
			 hash = str_split(&rest, ' ');

	r.name = rest;
	if (!app_id_valid(r.id) || num_parse(made, 0, INT64_MAX, &r.made) < 0 || num_parse(expires, 0, INT64_MAX, &r.expires) < 0 ||
	    app_services_parse(for_what, &r.services, e) < 0 || bytes_parse(salt, r.salt, sizeof r.salt) < 0 ||
	    bytes_parse(hash, r.hash, sizeof r.hash) < 0 || !app_name_valid(r.name))
		return err_set(e, ERR_INPUT, 0, "not an application password");
	*out = r;
	return 0;
}

int app_parse(struct str value, struct app_passwords *out, struct err *e)
{
	struct app_passwords p = { 0 };
	struct str rest = value;
	const struct str head = str_split(&rest, '\n');

	p.main_for_webmail = str_eq(head, STR("1 webmail"));
	if (!p.main_for_webmail && !str_eq(head, STR("1 any")))
		return err_set(e, ERR_INPUT, 0, "not a record of application passwords of version 1");
	while (rest.n) {
		if (p.n == APP_PASSWORDS_MAX)
			return err_set(e, ERR_INPUT, 0, "more than %d application passwords", APP_PASSWORDS_MAX);
		if (row_parse(str_split(&rest, '\n'), &p.v[p.n++], e) < 0)
			return -1;
	}
	*out = p;
	return 0;
}

void app_drop_before(struct app_passwords *p, uint64_t since)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++)
		if (p->v[i].made >= since)
			p->v[n++] = p->v[i];
	p->n = n;
}

void app_format(const struct app_passwords *p, struct buf *out)
{
	buf_c(out, p->main_for_webmail ? "1 webmail\n" : "1 any\n");
	for (size_t i = 0; i < p->n; i++) {
		const struct app_password *r = &p->v[i];

		buf_str(out, r->id);
		buf_printf(out, " %llu %llu ", (unsigned long long)r->made, (unsigned long long)r->expires);
		app_services_format(r->services, out);
		buf_ch(out, ' ');
		hex_encode(out, str_n(r->salt, sizeof r->salt));
		buf_ch(out, ' ');
		hex_encode(out, str_n(r->hash, sizeof r->hash));
		buf_ch(out, ' ');
		buf_str(out, r->name);
		buf_ch(out, '\n');
	}
}

/* --- the password itself --- */

static int hash_of(const uint8_t salt[APP_SALT], const char text[APP_LETTERS], uint8_t out[APP_HASH], struct err *e)
{
	uint8_t in[APP_SALT + APP_LETTERS];

	memcpy(in, salt, APP_SALT);
	memcpy(in + APP_SALT, text, APP_LETTERS);
	const int rc = digest_sha256(str_n(in, sizeof in), out);
	mem_wipe(in, sizeof in);
	return rc < 0 ? err_set(e, ERR_TEMP, 0, "libcrypto failed") : 0;
}

static char letter_random(void)
{
	uint8_t b;

	do
		random_bytes(&b, 1);
	while (b >= 240);	/* ten times 24: none is likelier */
	return letters[b % 24];
}

int app_make(struct app_password *out, char id_out[APP_ID + 1], char shown[APP_SHOWN], struct err *e)
{
	char text[APP_LETTERS];
	struct buf hex;
	uint8_t id[APP_ID / 2];
	size_t at = 0;

	for (size_t i = 0; i < APP_LETTERS; i++) {
		text[i] = letter_random();
		if (i && i % 4 == 0)
			shown[at++] = '-';
		shown[at++] = text[i];
	}
	shown[at] = 0;
	random_bytes(id, sizeof id);
	random_bytes(out->salt, sizeof out->salt);
	buf_init(&hex, 64);
	hex_encode(&hex, str_n(id, sizeof id));
	memcpy(id_out, hex.p, APP_ID);
	id_out[APP_ID] = 0;
	buf_fini(&hex);
	out->id = str_n(id_out, APP_ID);
	const int rc = hash_of(out->salt, text, out->hash, e);
	mem_wipe(text, sizeof text);
	return rc;
}

/* The letters of what was typed. False: it cannot be one of ours, and out is filled up with something. */
static bool letters_of(struct str given, char out[APP_LETTERS])
{
	size_t n = 0;
	bool ok = true;

	memset(out, 'a', APP_LETTERS);
	for (size_t i = 0; i < given.n; i++) {
		const char c = ch_lower(given.p[i]);

		if (c == '-' || c == ' ')
			continue;
		if (n == APP_LETTERS || !memchr(letters, c, sizeof letters - 1))
			ok = false;
		else
			out[n++] = c;
	}
	return ok && n == APP_LETTERS;
}

int app_match(const struct app_passwords *p, struct str given, unsigned service, uint64_t now, const struct app_password **which, struct err *e)
{
	char text[APP_LETTERS];
	const bool possible = letters_of(given, text);
	int rc = 0;

	for (size_t i = 0; i < APP_PASSWORDS_MAX && rc >= 0; i++) {
		const struct app_password *r = &p->v[i];
		uint8_t hash[APP_HASH];

		if (hash_of(r->salt, text, hash, e) < 0) {
			rc = -1;
		} else if (mem_equal_ct(hash, r->hash, APP_HASH) && i < p->n && possible && (r->services & service) && (!r->expires || now < r->expires)) {
			*which = r;
			rc = 1;
		}
	}
	mem_wipe(text, sizeof text);
	return rc;
}
