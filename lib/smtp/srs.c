/* See srs.h. */
#include "smtp/srs.h"

#include <string.h>

#include "base/sha256.h"
#include "smtp/addr.h"

enum { HASH_CHARS = 8, LOCAL_MAX = 64, DAY_CYCLE = 1024 };

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/* Of the form ('0' or '1') and the text: what was signed for one form must not do for the other, whose text a stranger may have chosen.
 * Letters are folded, as mail servers on the way may do. */
static void hmac(const struct srs *s, char form, struct str text, unsigned char out[32])
{
	struct hmac_sha256 h;

	hmac_sha256_init(&h, str_n(s->key, SRS_KEY_BYTES));
	hmac_sha256_add(&h, str_n(&form, 1));
	for (size_t i = 0; i < text.n; i++) {
		const char c = ch_lower(text.p[i]);
		hmac_sha256_add(&h, str_n(&c, 1));
	}
	hmac_sha256_end(&h, out);
}

static void hash_of(const struct srs *s, char form, struct str text, char out[HASH_CHARS + 1])
{
	unsigned char mac[32];

	hmac(s, form, text, mac);
	for (size_t i = 0; i < HASH_CHARS; i++)
		out[i] = alphabet[mac[i] & 31];
	out[HASH_CHARS] = '\0';
}

static bool hash_ok(const struct srs *s, char form, struct str text, struct str hash)
{
	char want[HASH_CHARS + 1];
	unsigned differ = hash.n != HASH_CHARS;

	hash_of(s, form, text, want);
	for (size_t i = 0; i < HASH_CHARS && i < hash.n; i++)
		differ |= (unsigned)(ch_lower(hash.p[i]) ^ ch_lower(want[i]));
	return differ == 0;
}

static bool prefixed(struct str local, const char *word)
{
	/* Any of "=+-" may stand behind it. */
	return local.n > 5 && str_case_starts(local, str_c(word)) && (local.p[4] == '=' || local.p[4] == '+' || local.p[4] == '-');
}

/* A plain local part: nothing that would need quotes, or end the form early. */
static bool plain(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (ch_ctl(s.p[i]) || s.p[i] == ' ' || s.p[i] == '"' || s.p[i] == '@' || s.p[i] == '\\')
			return false;
	return s.n > 0;
}

static int finish(struct arena *a, const char *text, const struct srs *s, struct str *out, struct err *e)
{
	if (strlen(text) > LOCAL_MAX)
		return err_set(e, ERR_LIMIT, 0, "rewritten sender too long");
	*out = str_c(arena_printf(a, "%s@%.*s", text, STR_ARG(s->domain)));
	return 0;
}

int srs_forward(const struct srs *s, struct str sender, int64_t day, struct arena *a, struct str *out, struct err *e)
{
	const ptrdiff_t at = str_rchr(sender, '@');
	char hash[HASH_CHARS + 1];
	const char *text;

	if (at <= 0 || !plain(str_sub(sender, 0, (size_t)at)) || !smtp_domain_valid(str_from(sender, (size_t)at + 1)))
		return err_set(e, ERR_INPUT, 0, "a sender that cannot be rewritten");
	const struct str local = str_sub(sender, 0, (size_t)at), domain = str_from(sender, (size_t)at + 1);
	if (prefixed(local, "SRS1")) {		/* HASH=FORWARDER=REST: the hash becomes ours, the rest stays */
		struct str rest = str_from(local, 5);
		(void)str_split(&rest, '=');
		text = arena_printf(a, "%.*s", STR_ARG(rest));
	} else if (prefixed(local, "SRS0")) {
		text = arena_printf(a, "%.*s=%.*s", STR_ARG(domain), STR_ARG(str_from(local, 4)));
	} else {
		text = arena_printf(a, "%c%c=%.*s=%.*s", alphabet[(day % DAY_CYCLE) / 32], alphabet[day % 32], STR_ARG(domain), STR_ARG(local));
	}
	const char form = prefixed(local, "SRS0") || prefixed(local, "SRS1") ? '1' : '0';
	hash_of(s, form, str_c(text), hash);
	return finish(a, arena_printf(a, "SRS%c=%s=%s", form, hash, text), s, out, e);
}

bool srs_is(const struct srs *s, struct str local, struct str domain)
{
	return s->domain.n > 0 && str_case_eq(domain, s->domain) && (prefixed(local, "SRS0") || prefixed(local, "SRS1"));
}

static int letter(char c)
{
	const char *at = c == '\0' ? NULL : strchr(alphabet, c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);

	return at ? (int)(at - alphabet) : -1;
}

static bool recent(struct str stamp, int64_t day)
{
	if (stamp.n != 2 || letter(stamp.p[0]) < 0 || letter(stamp.p[1]) < 0)
		return false;
	const int64_t then = letter(stamp.p[0]) * 32 + letter(stamp.p[1]), now = day % DAY_CYCLE;
	return (now - then + DAY_CYCLE) % DAY_CYCLE <= SRS_DAYS_MAX;
}

int srs_reverse(const struct srs *s, struct str local, int64_t day, struct arena *a, struct str *out, struct err *e)
{
	const bool first = prefixed(local, "SRS0");
	struct str rest = local.n > 5 ? str_from(local, 5) : STR("");
	const struct str hash = str_split(&rest, '=');

	if ((!first && !prefixed(local, "SRS1")) || rest.n == 0 || !plain(rest) || !hash_ok(s, first ? '0' : '1', rest, hash))
		return err_set(e, ERR_INPUT, 0, "not a sender that was rewritten here");
	if (first && !recent(str_split(&rest, '='), day))
		return err_set(e, ERR_INPUT, 0, "a rewritten sender that is too old");
	const struct str domain = str_split(&rest, '=');
	if (domain.n == 0 || rest.n == 0)
		return err_set(e, ERR_INPUT, 0, "not a sender that was rewritten here");
	*out = str_c(first ? arena_printf(a, "%.*s@%.*s", STR_ARG(rest), STR_ARG(domain)) : arena_printf(a, "SRS0%.*s@%.*s", STR_ARG(rest), STR_ARG(domain)));
	return 0;
}
