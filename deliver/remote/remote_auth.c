/* Logging in at a relay (RFC 4954, 4616, 2195). Pure: lines in, lines out. The password was handed in with the attempt; nothing here keeps it. */
#include <string.h>

#include "base/enc.h"
#include "deliver/remote/remote_priv.h"

enum { CHALLENGE_MAX = 4096 };

static const struct {
	const char *word;
	bool plain;
} mechs[] = { [AUTH_CRAM_MD5] = { "CRAM-MD5", false }, [AUTH_PLAIN] = { "PLAIN", true }, [AUTH_LOGIN] = { "LOGIN", true } };

static bool listed(struct conf_list l, const char *word)
{
	for (size_t i = 0; i < l.n; i++)
		if (str_case_eq(str_c(l.v[i]), str_c(word)))
			return true;
	return false;
}

unsigned auth_offered(struct str words)
{
	unsigned bits = 0;

	while (words.n > 0) {
		const struct str word = str_split(&words, ' ');
		for (size_t i = AUTH_CRAM_MD5; i < ARRAY_LEN(mechs); i++)
			if (str_case_eq(word, str_c(mechs[i].word)))
				bits |= 1u << i;
	}
	return bits;
}

enum auth_mech auth_choose(const struct conf *c, unsigned offered, bool secure)
{
	const bool no_plain = listed(secure ? c->smtp_sasl_tls_security_options : c->smtp_sasl_security_options, "noplaintext");

	for (size_t i = AUTH_CRAM_MD5; i < ARRAY_LEN(mechs); i++) {
		if (!(offered & 1u << i) || (no_plain && mechs[i].plain))
			continue;
		if (c->smtp_sasl_mechanism_filter.n == 0 || listed(c->smtp_sasl_mechanism_filter, mechs[i].word))
			return (enum auth_mech)i;
	}
	return AUTH_NONE;
}

static int cram_md5(struct str user, struct str password, struct str challenge, struct buf *out)
{
	unsigned char mac[16];
	struct buf plain, answer;
	int r = -1;

	buf_init(&plain, CHALLENGE_MAX);
	buf_init(&answer, CHALLENGE_MAX);
	if (base64_decode(&plain, challenge) == 0 && plain.n > 0 && tls_hmac_md5(password, buf_view(&plain), mac) == 0) {
		buf_str(&answer, user);
		buf_ch(&answer, ' ');
		hex_encode(&answer, str_n((const char *)mac, sizeof mac));
		base64_encode(out, buf_view(&answer));
		r = 0;
	}
	buf_fini(&plain);
	buf_fini(&answer);
	return r;
}

static void plain(struct str user, struct str password, struct buf *out)
{
	struct buf b;

	buf_init(&b, 2200);
	buf_ch(&b, '\0');
	buf_str(&b, user);
	buf_ch(&b, '\0');
	buf_str(&b, password);
	base64_encode(out, buf_view(&b));
	mem_wipe(b.p, b.n);
	buf_fini(&b);
}

int auth_line(enum auth_mech m, struct str login, unsigned step, struct str challenge, struct buf *out)
{
	const ptrdiff_t colon = str_chr(login, ':');
	const struct str user = colon < 0 ? login : str_sub(login, 0, (size_t)colon);
	const struct str password = colon < 0 ? STR("") : str_from(login, (size_t)colon + 1);

	if (step == 0) {
		buf_printf(out, "AUTH %s", mechs[m].word);
		if (m == AUTH_PLAIN) {
			buf_ch(out, ' ');
			plain(user, password, out);
		}
		return 0;
	}
	if (m == AUTH_CRAM_MD5 && step == 1)
		return cram_md5(user, password, challenge, out);
	if (m == AUTH_LOGIN && step <= 2) {
		base64_encode(out, step == 1 ? user : password);
		return 0;
	}
	return -1;
}
