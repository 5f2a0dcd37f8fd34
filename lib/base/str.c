/* Borrowed strings: comparison, searching, cutting, keyed hashing (SipHash-1-3). Pure but for the process' hash key. */
#include "base/str.h"

#include <sys/types.h>

#include "base/clock.h"
#include "base/num.h"

bool str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static bool case_eq_n(const char *a, const char *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (ch_lower(a[i]) != ch_lower(b[i]))
			return false;
	return true;
}

bool str_case_eq(struct str a, struct str b)
{
	return a.n == b.n && case_eq_n(a.p, b.p, a.n);
}

int str_cmp(struct str a, struct str b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int r = n == 0 ? 0 : memcmp(a.p, b.p, n);
	return r != 0 ? r : (a.n > b.n) - (a.n < b.n);
}

bool str_starts(struct str s, struct str prefix)
{
	return s.n >= prefix.n && str_eq(str_n(s.p, prefix.n), prefix);
}

bool str_ends(struct str s, struct str suffix)
{
	return s.n >= suffix.n && str_eq(str_from(s, s.n - suffix.n), suffix);
}

bool str_case_starts(struct str s, struct str prefix)
{
	return s.n >= prefix.n && case_eq_n(s.p, prefix.p, prefix.n);
}

size_t str_span7(struct str s)
{
	size_t i = 0;
	for (uint64_t w; i + 8 <= s.n; i += 8) {
		memcpy(&w, s.p + i, 8);
		if (w & UINT64_C(0x8080808080808080))
			break;
	}
	while (i < s.n && (unsigned char)s.p[i] < 0x80)
		i++;
	return i;
}

bool str_case_ends(struct str s, struct str suffix)
{
	return s.n >= suffix.n && str_case_eq(str_from(s, s.n - suffix.n), suffix);
}

ptrdiff_t str_chr(struct str s, char c)
{
	const char *at = s.n == 0 ? NULL : memchr(s.p, c, s.n);
	return at == NULL ? -1 : at - s.p;
}

ptrdiff_t str_rchr(struct str s, char c)
{
	const char *at = s.n == 0 ? NULL : memrchr(s.p, c, s.n);
	return at == NULL ? -1 : at - s.p;
}

enum { FIND_SHORT = 512 };	/* bytes: memmem fills a table of 256 before it looks */

static const char *find_short(struct str s, struct str needle)
{
	const char *const end = s.p + (s.n - needle.n) + 1;
	for (const char *at = s.p; at < end && (at = memchr(at, needle.p[0], (size_t)(end - at))) != NULL; at++)
		if (memcmp(at, needle.p, needle.n) == 0)
			return at;
	return NULL;
}

ptrdiff_t str_find(struct str s, struct str needle)
{
	if (needle.n == 0)
		return 0;
	if (s.n < needle.n)
		return -1;
	const char *at = s.n <= FIND_SHORT ? find_short(s, needle) : memmem(s.p, s.n, needle.p, needle.n);
	return at == NULL ? -1 : at - s.p;
}

ptrdiff_t str_case_find(struct str s, struct str needle)
{
	if (needle.n == 0)
		return 0;
	for (size_t i = 0; i + needle.n <= s.n; i++)
		if (ch_lower(s.p[i]) == ch_lower(needle.p[0]) && case_eq_n(s.p + i, needle.p, needle.n))
			return (ptrdiff_t)i;
	return -1;
}

struct str str_trim(struct str s)
{
	while (s.n > 0 && ch_space(s.p[0]))
		s = str_from(s, 1);
	while (s.n > 0 && ch_space(s.p[s.n - 1]))
		s.n--;
	return s;
}

struct str str_split(struct str *s, char c)
{
	struct str all = *s;
	ptrdiff_t at = str_chr(all, c);
	if (at < 0) {
		*s = (struct str){ 0 };
		return all;
	}
	*s = str_from(all, (size_t)at + 1);
	return str_n(all.p, (size_t)at);
}

bool str_token(struct str *s, const char *seps, struct str *out)
{
	size_t i = 0;
	while (i < s->n && strchr(seps, s->p[i]) != NULL && s->p[i] != '\0')
		i++;
	size_t start = i;
	while (i < s->n && (strchr(seps, s->p[i]) == NULL || s->p[i] == '\0'))
		i++;
	if (i == start) {
		*s = str_from(*s, i);
		return false;
	}
	*out = str_sub(*s, start, i - start);
	*s = str_from(*s, i);
	return true;
}

bool str_printable(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 0x20 || (unsigned char)s.p[i] > 0x7e)
			return false;
	return true;
}

/* --- SipHash-1-3 (Aumasson, Bernstein 2012), keyed once per process --- */

static struct str_hash_key process_key;
static bool keyed;

void str_hash_reseed(void)
{
	random_bytes(&process_key, sizeof(process_key));
	keyed = true;
}

struct str_hash_key str_hash_key(void)
{
	if (!keyed)
		str_hash_reseed();
	return process_key;
}

static inline uint64_t rotl(uint64_t x, int b)
{
	return x << b | x >> (64 - b);
}

struct sip {
	uint64_t v0, v1, v2, v3;
};

static inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v1 = rotl(s->v1, 13) ^ s->v0;
	s->v0 = rotl(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotl(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotl(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotl(s->v1, 17) ^ s->v2;
	s->v2 = rotl(s->v2, 32);
}

static inline void sip_word(struct sip *s, uint64_t m)
{
	s->v3 ^= m;
	sip_round(s);
	s->v0 ^= m;
}

static uint64_t hash(const uint64_t key[2], struct str s, bool fold)
{
	struct sip h = { key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
			 key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573 };
	uint64_t m = 0;
	size_t i = 0;
	for (; !fold && i + 8 <= s.n; i += 8)
		sip_word(&h, get_le64(s.p + i));
	for (; i < s.n; i++) {
		char c = fold ? ch_lower(s.p[i]) : s.p[i];
		m |= (uint64_t)(unsigned char)c << (8 * (i & 7));
		if ((i & 7) == 7) {
			sip_word(&h, m);
			m = 0;
		}
	}
	sip_word(&h, m | (uint64_t)s.n << 56);
	h.v2 ^= 0xff;
	sip_round(&h);
	sip_round(&h);
	sip_round(&h);
	return h.v0 ^ h.v1 ^ h.v2 ^ h.v3;
}

uint64_t str_hash_by(const struct str_hash_key *key, struct str s)
{
	return hash(key->k, s, false);
}

uint64_t str_hash(struct str s)
{
	const struct str_hash_key key = str_hash_key();
	return hash(key.k, s, false);
}

uint64_t str_case_hash(struct str s)
{
	const struct str_hash_key key = str_hash_key();
	return hash(key.k, s, true);
}
