/* Records of passwd.cdb, made by postern-user and judged by the check worker. The only includer of crypt.h. */
#include "authd/passfile.h"

#include <crypt.h>
#include <errno.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/enc.h"

#define LONG_MARK "{SHA256}"

static const struct { const char *name, *prefix; } schemes[] = {
	{ "yescrypt", "$y$" },
	{ "sha512", "$6$" },
};

int pass_record_parse(struct str value, struct pass_record *out, struct err *e)
{
	struct str rest = value, version = str_split(&rest, '\n'), hash = str_split(&rest, '\n');
	struct pass_record r = { .hash = hash };

	if (!str_eq(version, STR("1")) || hash.n == 0 || !rest.p || memchr(value.p, 0, value.n))
		return err_set(e, ERR_INPUT, 0, "not a password record of version 1");
	if (!str_eq(rest, STR("-"))) {
		if (scram_verifier_parse(rest, &r.scram, e) < 0)
			return -1;
		r.has_scram = true;
	}
	*out = r;
	return 0;
}

/* crypt(3) in memory of its own, wiped afterwards. */
static int crypt_once(struct str password, const char *setting, struct buf *out, struct err *e)
{
	struct crypt_data *d = xzalloc(sizeof *d);
	char *phrase = xstrndup(password.p ? password.p : "", password.n);
	const char *h = crypt_rn(phrase, setting, d, (int)sizeof *d);
	int rc = 0;

	if (!h || h[0] == '*')
		rc = err_set(e, ERR_TEMP, errno, "crypt(3) does not know the method of this hash");
	else
		buf_c(out, h);
	mem_wipe(phrase, password.n);
	mem_wipe(d, sizeof *d);
	free(phrase);
	free(d);
	return rc;
}

/* What crypt(3) gets for a password that is too long for it. */
static int shorten(struct str password, struct buf *out, struct err *e)
{
	uint8_t digest[SCRAM_HASH];

	if (digest_sha256(password, digest) < 0)
		return err_set(e, ERR_TEMP, 0, "libcrypto failed");
	base64_encode(out, str_n(digest, sizeof digest));
	mem_wipe(digest, sizeof digest);
	return 0;
}

static int crypt_long(struct str password, const char *setting, struct buf *out, struct err *e)
{
	struct buf text;
	int rc;

	buf_init(&text, 64);
	rc = shorten(password, &text, e);
	if (rc == 0)
		rc = crypt_once(buf_view(&text), setting, out, e);
	buf_wipe(&text);
	buf_fini(&text);
	return rc;
}

static int hash_make(struct str password, const char *scheme, struct buf *out, struct err *e)
{
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];

	if (strcmp(scheme, "plain") == 0) {
		if (memchr(password.p, '\n', password.n))
			return err_set(e, ERR_INPUT, 0, "a line end in a plain password");
		buf_c(out, "{PLAIN}");
		buf_str(out, password);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		if (strcmp(scheme, schemes[i].name) != 0)
			continue;
		if (!crypt_gensalt_rn(schemes[i].prefix, 0, NULL, 0, setting, (int)sizeof setting))
			return err_set(e, ERR_TEMP, errno, "no salt for %s", scheme);
		if (password.n <= CRYPT_INPUT_MAX)
			return crypt_once(password, setting, out, e);
		buf_c(out, LONG_MARK);
		return crypt_long(password, setting, out, e);
	}
	return err_set(e, ERR_INPUT, 0, "scheme %s is not one of yescrypt, sha512, plain", scheme);
}

static bool scram_make(struct str password, struct buf *out)
{
	struct scram_verifier v;
	struct buf prepared;
	uint8_t salt[16];
	struct err e = { 0 };

	random_bytes(salt, sizeof salt);
	buf_init(&prepared, PASSWORD_MAX * 2);
	bool ok = scram_prepare(password, &prepared, &e) == 0 && prepared.n > 0 &&
		  scram_derive(buf_view(&prepared), salt, sizeof salt, SCRAM_ITERATIONS_DEFAULT, &v, &e) == 0;
	buf_wipe(&prepared);
	buf_fini(&prepared);
	if (ok)
		scram_verifier_format(&v, out);
	return ok;
}

int pass_record_make(struct str password, const char *scheme, struct buf *value_out, bool *scram_out, struct err *e)
{
	if (password.n == 0)
		return err_set(e, ERR_INPUT, 0, "an empty password is never accepted");
	if (password.n > PASSWORD_MAX)
		return err_set(e, ERR_INPUT, 0, "a password of more than %d bytes", PASSWORD_MAX);
	if (memchr(password.p, 0, password.n))
		return err_set(e, ERR_INPUT, 0, "a NUL in the password");
	buf_c(value_out, "1\n");
	if (hash_make(password, scheme, value_out, e) < 0)
		return -1;
	buf_ch(value_out, '\n');
	*scram_out = scram_make(password, value_out);
	if (!*scram_out)
		buf_ch(value_out, '-');
	return buf_check(value_out, "password record", e);
}

int pass_verify(struct str hash, struct str password, struct err *e)
{
	struct buf got;
	char *setting;
	int rc;

	if (str_starts(hash, STR("{PLAIN}"))) {
		struct str want = str_from(hash, 7);

		return want.n == password.n && mem_equal_ct(want.p, password.p, want.n);
	}
	if (memchr(password.p, 0, password.n))
		return 0;
	const bool marked = str_starts(hash, STR(LONG_MARK));
	const bool too_long = password.n > CRYPT_INPUT_MAX;
	if (marked)
		hash = str_from(hash, sizeof LONG_MARK - 1);
	buf_init(&got, PASS_RECORD_MAX);
	setting = xstrndup(hash.p, hash.n);
	/* A password too long for this hash is wrong, at the same cost. */
	rc = marked || too_long ? crypt_long(password, setting, &got, e) : crypt_once(password, setting, &got, e);
	if (rc == 0)
		rc = marked == too_long && got.n == hash.n && mem_equal_ct(got.p, hash.p, hash.n);
	free(setting);
	buf_wipe(&got);
	buf_fini(&got);
	return rc;
}

int pass_dummy(struct buf *hash_out, struct err *e)
{
	uint8_t random[18];
	struct buf text;

	random_bytes(random, sizeof random);
	buf_init(&text, 64);
	base64_encode(&text, str_n(random, sizeof random));
	int rc = hash_make(buf_view(&text), "yescrypt", hash_out, e);
	buf_fini(&text);
	return rc;
}
