/* The base library's rules, as tables where the rule is a table. */
#include <limits.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/enc.h"
#include "base/err.h"
#include "base/format.h"
#include "base/json.h"
#include "base/map.h"
#include "base/num.h"
#include "base/ids.h"
#include "base/radix.h"
#include "base/sha256.h"
#include "base/str.h"
#include "test/tap.h"

/* Any number of digits, before and after any bytes, at any end of the text: as one would read them one by one. */
static void digits(void)
{
	static const char after[] = { ',', ':', '/', '.', '0' - 1, '9' + 1, (char)0x80, (char)0xff, (char)('0' | 0x80), ' ', 'a', 0 };
	size_t wrong = 0;

	for (size_t n = 0; n <= 22; n++) {
		for (size_t more = 0; more <= 12; more++) {
			for (unsigned round = 0; round < 20; round++) {
				char *const text = malloc(n + more + 1);
				uint64_t want = 0, got = 7;
				bool fits = n > 0;
				for (size_t i = 0; i < n + more; i++)
					text[i] = i < n ? (char)('0' + random_u64() % 10) : i == n ? after[random_u64() % sizeof(after)] : (char)random_u64();
				if (n == 20)
					text[0] = '1';
				for (size_t i = 0; i < n; i++)
					fits = fits && !__builtin_mul_overflow(want, (uint64_t)10, &want) && !__builtin_add_overflow(want, (uint64_t)(text[i] - '0'), &want);
				struct str s = str_n(text, n + more);
				const int r = num_take(&s, UINT64_MAX, &got);
				wrong += fits ? r != 0 || got != want || s.p != text + n || s.n != more : r != -1 || s.p != text || got != 7;
				free(text);
			}
		}
	}
	tap_is_int((long long)wrong, 0, "numbers of any length, whatever follows");
}

static void numbers(void)
{
	static const struct {
		const char *in;
		uint64_t max;
		int result;
		uint64_t value;
	} cases[] = {
		{ "0", 10, 0, 0 },
		{ "10", 10, 0, 10 },
		{ "11", 10, -1, 0 },
		{ "", 10, -1, 0 },
		{ "-1", 10, -1, 0 },
		{ "+1", 10, -1, 0 },
		{ " 1", 10, -1, 0 },
		{ "1 ", 10, -1, 0 },
		{ "18446744073709551615", UINT64_MAX, 0, UINT64_MAX },
		{ "18446744073709551616", UINT64_MAX, -1, 0 },
		{ "99999999999999999999", UINT64_MAX, -1, 0 },
		{ "000000000000000000001", 10, -1, 0 },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint64_t v = 77;
		int r = num_parse(str_c(cases[i].in), 0, cases[i].max, &v);
		tap_ok(r == cases[i].result && v == (r == 0 ? cases[i].value : 77), "num_parse \"%s\"", cases[i].in);
	}
	static const uint32_t some[] = { 3, 3, 7, UINT32_MAX };

	for (uint32_t n = 0; n <= ARRAY_LEN(some); n++) {
		static const uint32_t asked[] = { 0, 2, 3, 4, 7, 8, UINT32_MAX };
		bool right = true;

		for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
			size_t below = 0;

			while (below < n && some[below] < asked[i])
				below++;
			right &= u32_lower(some, n, asked[i]) == below;
		}
		tap_ok(right, "of %u ascending numbers: how many are below", n);
	}
	tap_ok(crc32c(0, "123456789", 9) == 0xe3069283u, "CRC-32C check value");
}

static void base64(void)
{
	static const struct {
		const char *in, *out;	/* out NULL: refused */
	} cases[] = {
		{ "", "" }, { "Zg==", "f" }, { "Zm8=", "fo" }, { "Zm9v", "foo" }, { "Zm9vYmFy", "foobar" },
		{ "Zg=", NULL }, { "Zg", NULL }, { "Zh==", NULL }, { "Zm9=", NULL }, { "Zg==Zg==", NULL },
		{ "Z===", NULL }, { "====", NULL }, { "Zm 9", NULL }, { "Zm9\n", NULL }, { "Zm9-", NULL },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf b;
		buf_init(&b, 100);
		int r = base64_decode(&b, str_c(cases[i].in));
		tap_ok(cases[i].out == NULL ? r < 0 : r == 0 && str_eq(buf_view(&b), str_c(cases[i].out)),
		       "base64 \"%s\"", cases[i].in);
		if (cases[i].out != NULL) {
			buf_reset(&b);
			base64_encode(&b, str_c(cases[i].out));
			tap_ok(str_eq(buf_view(&b), str_c(cases[i].in)), "base64 back to \"%s\"", cases[i].in);
		}
		buf_fini(&b);
	}
}

/* Text is looked at eight bytes at a time: the one that tells stands at every place. */
static void each_place(void)
{
	char text[30];
	unsigned wrong = 0;
	for (size_t at = 0; at < sizeof(text); at++) {
		for (size_t n = at + 1; n <= sizeof(text); n++) {
			memset(text, 'a', sizeof(text));
			text[at] = (char)0x80;
			wrong += str_span7(str_n(text, n)) != at || !str_has_8bit(str_n(text, n)) || str_has_8bit(str_n(text, at)) || utf8_valid(str_n(text, n));
			text[at] = '\0';
			wrong += str_has_8bit(str_n(text, n)) || utf8_valid(str_n(text, n)) || !utf8_valid(str_n(text, at));
			memcpy(text + at, "\xc3\xa9", at + 1 < sizeof(text) ? 2 : 1);
			wrong += utf8_valid(str_n(text, n)) != (n > at + 1);
		}
	}
	tap_is_int((long)wrong, 0, "bytes that tell are seen wherever they stand");
}

static void utf8(void)
{
	static const struct {
		const char *in;
		bool valid;
	} cases[] = {
		{ "abc", true }, { "\xc3\xa9", true }, { "\xe2\x82\xac", true }, { "\xf0\x9f\x98\x80", true },
		{ "\xc0\x80", false }, { "\xc1\xbf", false }, { "\xe0\x80\x80", false }, { "\xed\xa0\x80", false },
		{ "\xf4\x90\x80\x80", false }, { "\xf5\x80\x80\x80", false }, { "\xc3", false }, { "\x80", false },
		{ "\xe2\x82", false },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		tap_ok(utf8_valid(str_c(cases[i].in)) == cases[i].valid, "utf8 case %zu", i);
	struct buf b;
	buf_init(&b, 100);
	text_neutral(&b, STR("a\r\nb\x1b[1m\xff\xc3\xa9\xe2\x80\xae"), 60, false);
	tap_is_str(b.p, "a??b?[1m?\xc3\xa9?", "peer text is neutral");
	buf_reset(&b);
	text_neutral(&b, STR("abcdef"), 3, true);
	tap_is_str(b.p, "abc...", "peer text is cut");
	buf_fini(&b);
}

static void buffers(void)
{
	struct buf b;
	buf_init(&b, 5);
	tap_is_str(b.p, "", "an empty buffer is a string");
	buf_c(&b, "abc");
	buf_printf(&b, "%d", 45);
	tap_ok(!buf_failed(&b) && strcmp(b.p, "abc45") == 0, "the maximum itself fits");
	buf_ch(&b, 'x');
	buf_c(&b, "");
	tap_ok(buf_failed(&b) && strcmp(b.p, "abc45") == 0, "one more fails and sticks");
	buf_reset(&b);
	buf_printf(&b, "%s", "123456");
	tap_ok(buf_failed(&b) && b.n == 0 && b.p[0] == '\0', "printf over the maximum adds nothing");
	buf_reset(&b);
	buf_c(&b, "hello");
	buf_shift(&b, 2);
	tap_is_str(b.p, "llo", "shift");
	buf_fini(&b);
}

/* Those that share large pages, with small ones among them. */
static void large_arrays(void)
{
	enum { N = 100000, EACH = 12 };
	struct arena *a = arena_new_large();
	const char *const small = arena_strdup(a, "small");
	const struct arena_mark m = arena_mark(a);
	uint32_t *v[EACH];
	size_t dirty = 0, changed = 0;

	for (int round = 0; round < 2; round++) {
		for (uint32_t k = 0; k < EACH; k++) {
			v[k] = ARENA_ARRAY(a, uint32_t, N * (k % 5 + 1));
			for (size_t i = 0; i < N * (k % 5 + 1); i++) {
				dirty += v[k][i] != 0;
				v[k][i] = k + 1;
			}
			memset(arena_alloc(a, 100), 0xff, 100);
		}
		for (uint32_t k = 0; k < EACH; k++)
			for (size_t i = 0; i < N * (k % 5 + 1); i++)
				changed += v[k][i] != k + 1;
		arena_release(a, m);
	}
	tap_is_int((long)dirty, 0, "large arrays are zeroed");
	tap_is_int((long)changed, 0, "and apart");
	tap_is_str(small, "small", "what is older stays");
	arena_free(&a);
}

static size_t memory_in_use(void)
{
	const struct mallinfo2 m = mallinfo2();
	return m.uordblks + m.hblkhd;
}

/* What a peer sends is kept in such: it costs what it is long, and nothing when it is gone. */
static void plain_arrays(void)
{
	enum { EACH = 1100000, N = 20 };
	const size_t before = memory_in_use();
	struct arena *a = arena_new(0);

	for (int i = 0; i < N; i++)
		memset(arena_alloc(a, EACH), 0xff, EACH);
	tap_ok(memory_in_use() - before < (size_t)N * EACH + (size_t)N * 8192, "arrays cost what they are long: %zu bytes", memory_in_use() - before);
	arena_reset(a);
	tap_ok(memory_in_use() - before < 4096, "none of them stays: %zu bytes", memory_in_use() - before);
	arena_free(&a);
	a = arena_new_large();
	memset(arena_alloc(a, EACH), 0xff, EACH);
	arena_reset(a);
	tap_ok(memory_in_use() - before < 4096, "nor of those that share pages: %zu bytes", memory_in_use() - before);
	arena_free(&a);
	a = arena_new(1 << 20);
	tap_ok(arena_alloc(a, 1 << 19) != NULL && arena_alloc(a, 1 << 20) == NULL, "the maximum counts what was handed out");
	arena_free(&a);
}

static void arenas(void)
{
	struct arena *a = arena_new(10000);
	struct arena_mark empty = arena_mark(a);
	char *first = arena_strdup(a, "first");
	struct arena_mark m = arena_mark(a);
	for (int i = 0; i < 50; i++)
		tap_ok(arena_alloc(a, 100) != NULL, "allocation %d", i);
	tap_ok(arena_alloc(a, 20000) == NULL, "above the maximum: NULL");
	tap_ok(arena_array(a, SIZE_MAX / 2, 3) == NULL, "overflowing product: NULL");
	arena_release(a, m);
	tap_is_str(first, "first", "release keeps what is older");
	tap_ok(((char *)arena_alloc(a, 64))[63] == 0, "memory is zeroed after release");
	arena_release(a, empty);
	tap_ok(arena_used(a) == 0, "release to empty");
	const char *secret = arena_strdup(a, "secret");
	tap_is_str(secret, "secret", "to be wiped");
	arena_wipe(a);
	tap_ok(arena_used(a) == 0, "wiped: empty");
#ifndef __SANITIZE_ADDRESS__	/* which lets nobody look */
	tap_ok(memcmp(secret, "\0\0\0\0\0\0", 6) == 0, "wiped: and overwritten");
#endif
	tap_is_str(arena_strdup(a, "next"), "next", "wiped: and of use");
	arena_free(&a);
	tap_ok(a == NULL, "free sets NULL");
	struct own {
		struct arena *a;
	} *own;
	a = arena_new(0);
	own = ARENA_NEW(a, struct own);
	own->a = a;
	arena_free(&own->a);	/* the sanitizer says whether the memory is touched after its end */
}

static void maps(void)
{
	struct map *m = map_new();
	static int values[1000];
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 1000; i++) {
			struct str k = { (const char *)&i, sizeof(i) };
			map_set(m, k, &values[i]);
		}
		tap_ok(map_count(m) == 1000, "1000 entries");
		for (int i = 0; i < 1000; i += 2)
			map_del(m, (struct str){ (const char *)&i, sizeof(i) });
		bool right = map_count(m) == 500;
		for (int i = 0; i < 1000; i++)
			right = right && map_get(m, (struct str){ (const char *)&i, sizeof(i) }) == (i % 2 ? &values[i] : NULL);
		tap_ok(right, "deletion keeps the others");
	}
	str_hash_reseed();
	tap_ok(map_get(m, (struct str){ (const char *)&(int){ 1 }, sizeof(int) }) == &values[1], "found after the process has got another key, as after a fork");
	map_free(&m);
}

/* Names that a peer found to share a place in one process share none in another: whoever cannot read the key cannot make a table slow. */
static void collisions(void)
{
	enum { PLACES = 1024, NAMES = 1000 };
	static char names[NAMES][16];
	unsigned at[PLACES] = { 0 }, most = 0;
	const struct str_hash_key key = str_hash_key();
	size_t n = 0;

	for (unsigned i = 0; n < NAMES; i++) {
		snprintf(names[n], sizeof(names[n]), "n%u", i);
		n += str_hash_by(&key, str_c(names[n])) % PLACES == 0;
	}
	str_hash_reseed();
	const struct str_hash_key other = str_hash_key();
	for (size_t i = 0; i < n; i++) {
		const unsigned in = ++at[str_hash_by(&other, str_c(names[i])) % PLACES];
		most = in > most ? in : most;
	}
	tap_ok(memcmp(&key, &other, sizeof(key)) != 0, "each process has a key of its own");
	tap_ok(most < 20, "names of one place are spread by another key: at most %u together", most);
}

/* Needles at every place, and nowhere, in texts on both sides of what counts as short. */
static void find_everywhere(void)
{
	char text[600];
	unsigned wrong = 0;
	for (size_t n = 1; n <= sizeof(text); n += n < 520 && n > 500 ? 1 : 7) {
		memset(text, 'a', n);
		for (size_t at = 0; at < n; at++) {
			text[at] = 'b';
			wrong += str_find(str_n(text, n), STR("b")) != (ptrdiff_t)at;
			wrong += str_find(str_n(text, n), STR("ab")) != (at == 0 ? -1 : (ptrdiff_t)at - 1);
			wrong += str_find(str_n(text, n), STR("ba")) != (at + 1 == n ? -1 : (ptrdiff_t)at);
			wrong += str_find(str_n(text, n), STR("bb")) != -1;
			text[at] = 'a';
		}
	}
	tap_is_int(wrong, 0, "found wherever it is");
}

static void strings(void)
{
	struct str s = STR("a,b,,c");
	int n = 0;
	while (s.p != NULL) {
		str_split(&s, ',');
		n++;
	}
	tap_ok(n == 4, "split gives empty parts too");
	tap_ok(str_case_find(STR("Hello World"), STR("WORLD")) == 6, "case_find");
	tap_ok(str_find(STR("abc"), STR("abcd")) < 0, "a longer needle is not found");
	find_everywhere();
	tap_ok(str_eq(str_trim(STR(" \t x y \r\n")), STR("x y")), "trim");
	tap_ok(str_case_hash(STR("ABC")) == str_case_hash(STR("abc")) && str_hash(STR("ABC")) != str_hash(STR("abc")),
	       "case hash folds");
	const struct str text = STR("a text of three words of eight bytes, and more");
	bool same = true;
	for (size_t i = 0; i <= text.n; i++)
		same &= str_hash(str_sub(text, 0, i)) == str_case_hash(str_sub(text, 0, i)) && str_hash(str_sub(text, i, 20)) == str_case_hash(str_sub(text, i, 20));
	tap_ok(same, "bytes and words of eight hash to the same");
	struct str list = STR("  one two,three "), w;
	n = 0;
	while (str_token(&list, " ,", &w))
		n++;
	tap_ok(n == 3, "tokens");
}

static void errors(void)
{
	struct err e = { 0 };
	tap_ok(err_set(&e, ERR_INPUT, 0, "bad\r\n%s", "x") == -1, "err_set returns -1");
	tap_is_str(e.text, "bad??x", "error text is one printable line");
	int r = err_wrap(&e, "MAIL");
	tap_ok(r == -1 && strcmp(e.text, "MAIL: bad??x") == 0, "err_wrap");
	tap_ok(err_row(ERR_TOOBIG)->smtp == 552 && err_row((enum err_code)9999)->smtp == 451, "rows");
}

static void json(void)
{
	static const struct { const char *name; struct str in; const char *want; } rows[] = {
		{ "plain", STR("x y"), "\"x y\"" }, { "empty", STR(""), "\"\"" }, { "quote, backslash", STR("a\"b\\c"), "\"a\\\"b\\\\c\"" },
		{ "controls", STR("\r\n\t\x1b"), "\"\\u000d\\u000a\\u0009\\u001b\"" }, { "a NUL", STR("a\0b"), "\"a\\u0000b\"" },
		{ "UTF-8", STR("\xc3\xa9"), "\"\xc3\xa9\"" }, { "no UTF-8", STR("\xc3("), "\"\xef\xbf\xbd(\"" }, { "cut UTF-8", STR("\xe2\x82"), NULL },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *text = NULL;
		size_t n = 0;
		FILE *f = open_memstream(&text, &n);
		json_string(f, rows[i].in);
		fclose(f);
		if (rows[i].want)
			tap_is_str(text, rows[i].want, "json: %s", rows[i].name);
		else
			tap_ok(utf8_valid(str_c(text)), "json: %s", rows[i].name);
		free(text);
	}
}

/* Vectors of FIPS 180-4's examples, and every length around a block in pieces of every size. */
static void sha(void)
{
	static const struct {
		const char *in, *hex;
	} cases[] = {
		{ "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
		{ "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
	};
	unsigned char one[32], two[32];
	char text[200];
	struct sha256 s;
	struct buf hex;

	buf_init(&hex, 100);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		sha256_init(&s);
		sha256_add(&s, str_c(cases[i].in));
		sha256_end(&s, one);
		buf_reset(&hex);
		hex_encode(&hex, str_n(one, sizeof(one)));
		tap_is_str(hex.p, cases[i].hex, "SHA-256 of \"%s\"", cases[i].in);
	}
	buf_fini(&hex);
	bool same = true;

	memset(text, 'x', sizeof(text));
	for (size_t n = 0; n < sizeof(text); n++) {
		sha256_init(&s);
		sha256_add(&s, str_n(text, n));
		sha256_end(&s, one);
		sha256_init(&s);
		for (size_t at = 0, k = n % 13 + 1; at < n; at += k)
			sha256_add(&s, str_sub(str_n(text, n), at, k));
		sha256_end(&s, two);
		same &= memcmp(one, two, sizeof(one)) == 0;
	}
	tap_ok(same, "SHA-256 in pieces");
}

/* Cases 1 to 4, 6 and 7 of RFC 4231 section 4: keys shorter and longer than a block. */
static void hmac(void)
{
	static const struct {
		const char *key;
		size_t key_times;
		const char *data;
		size_t data_times;
		const char *hex;
	} cases[] = {
		{ "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", 1, "4869205468657265", 1, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
		{ "4a656665", 1, "7768617420646f2079612077616e7420666f72206e6f7468696e673f", 1, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
		{ "aa", 20, "dd", 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe" },
		{ "0102030405060708090a0b0c0d0e0f10111213141516171819", 1, "cd", 50, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b" },
		{ "aa", 131, "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368204b6579204669727374", 1,
		  "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54" },
		{ "aa", 131,
		  "5468697320697320612074657374207573696e672061206c6172676572207468616e20626c6f636b2d73697a65206b657920616e642061206c6172676572207468616e20"
		  "626c6f636b2d73697a6520646174612e20546865206b6579206e6565647320746f20626520686173686564206265666f7265206265696e6720757365642062792074686520"
		  "484d414320616c676f726974686d2e", 1,
		  "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2" },
	};
	static const struct hmac_sha256 wiped;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct hmac_sha256 h;
		unsigned char mac[32];
		struct buf key, data, hex;

		buf_init(&key, 1000);
		buf_init(&data, 1000);
		buf_init(&hex, 100);
		for (size_t n = 0; n < cases[i].key_times; n++)
			(void)!hex_decode(&key, str_c(cases[i].key));
		for (size_t n = 0; n < cases[i].data_times; n++)
			(void)!hex_decode(&data, str_c(cases[i].data));
		hmac_sha256_init(&h, buf_view(&key));
		hmac_sha256_add(&h, str_sub(buf_view(&data), 0, 7));
		hmac_sha256_add(&h, str_from(buf_view(&data), 7));
		hmac_sha256_end(&h, mac);
		hex_encode(&hex, str_n(mac, sizeof(mac)));
		tap_is_str(hex.p, cases[i].hex, "HMAC-SHA-256, case %zu", i + 1);
		tap_ok(memcmp(&h, &wiped, sizeof(h)) == 0, "HMAC-SHA-256 leaves nothing, case %zu", i + 1);
		buf_fini(&key);
		buf_fini(&data);
		buf_fini(&hex);
	}
}

/* Every byte at every place of a text, against a look at one byte after the other. */
/* To another place, and in its own. */
static void test_to_lf(void)
{
	static const struct {
		struct str in, out;
	} cases[] = {
		{ STR(""), STR("") }, { STR("a\r\nb\r\n"), STR("a\nb\n") }, { STR("\r\n\r\n"), STR("\n\n") }, { STR("a\nb"), STR("a\nb") },
		{ STR("a\r\r\nb"), STR("a\r\nb") }, { STR("a\rb\r"), STR("a\rb\r") }, { STR("\r"), STR("\r") }, { STR("a\0\r\nb"), STR("a\0\nb") },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char other[20], own[20];
		const size_t n = text_to_lf(other, cases[i].in);
		memcpy(own, cases[i].in.p, cases[i].in.n);
		const size_t k = text_to_lf(own, str_n(own, cases[i].in.n));
		tap_ok(str_eq(str_n(other, n), cases[i].out) && str_eq(str_n(own, k), cases[i].out), "line ends to LF, case %zu", i);
	}
}

static void test_ascii_plain(void)
{
	unsigned wrong = 0;

	for (size_t at = 0; at < 20; at++) {
		for (unsigned byte = 0; byte < 256; byte++) {
			char text[20];

			memset(text, byte % 2 ? 'a' : '~', sizeof(text));
			text[at] = (char)byte;
			wrong += ascii_plain(str_n(text, sizeof(text))) != (byte >= 0x20 && byte <= 0x7e ? sizeof(text) : at);
		}
	}
	tap_is_int(wrong, 0, "plain text ends where the first other byte is");
}

static void radix_pieces(struct radix_item *v, size_t n, size_t piece)
{
	struct radix_item *const room = malloc((n + 1) * sizeof(*room));
	struct radix r;
	size_t work = piece;

	radix_begin(&r, v, room, n);
	while (!radix_step(&r, &work))
		work = piece;
	memmove(v, r.v, n * sizeof(*v));
	free(room);
}

/* Any number of items, in one go and in pieces, keys alike in some of their bytes: ascending, and stable. */
static void sorting(void)
{
	static const uint64_t masks[] = { UINT64_MAX, 0xff, 0xff00ff, 0, UINT64_C(0xff) << 56, 3 };
	static const size_t counts[] = { 0, 1, 2, 32, 33, 1000, 5000 };

	for (size_t m = 0; m < ARRAY_LEN(masks); m++) {
		for (size_t c = 0; c < ARRAY_LEN(counts); c++) {
			const size_t n = counts[c];
			struct radix_item *v = malloc((n + 1) * sizeof(*v));
			uint64_t sum = 0;
			bool right = true;
			for (size_t i = 0; i < n; i++) {
				v[i] = (struct radix_item){ random_u64() & masks[m], i };
				sum += v[i].key ^ i;
			}
			if (c % 2)
				radix_sort(v, n);
			else
				radix_pieces(v, n, 1 + random_u64() % 1000);
			for (size_t i = 0; i < n; i++) {
				sum -= v[i].key ^ v[i].value;
				right &= i == 0 || v[i - 1].key < v[i].key || (v[i - 1].key == v[i].key && v[i - 1].value < v[i].value);
			}
			tap_ok(right && sum == 0, "%zu numbers of mask %llx", n, (unsigned long long)masks[m]);
			free(v);
		}
	}
}

/* Each id has its number, the next one when it is new, however many there are and however close they lie. */
static void numbering(void)
{
	enum { N = 20000 };
	static const uint64_t steps[] = { 1, UINT64_C(1) << 32, UINT64_C(0x9e3779b97f4a7c15), UINT64_C(1) << 40 };

	for (size_t s = 0; s < ARRAY_LEN(steps); s++) {
		struct ids t;
		size_t wrong = 0;

		ids_init(&t, s % 2 ? N : 0);
		tap_is_int(ids_find(&t, 7), 0, "nothing is there");
		for (uint32_t i = 0; i < N; i++) {
			wrong += ids_number(&t, i * steps[s] + 7) != i + 1;
			wrong += ids_number(&t, i / 2 * steps[s] + 7) != i / 2 + 1;
		}
		for (uint32_t i = 0; i < N; i++)
			wrong += ids_find(&t, i * steps[s] + 7) != i + 1 || t.v[i + 1] != i * steps[s] + 7;
		tap_is_int((long long)wrong + ids_find(&t, 6), 0, "numbers of ids in steps of %llx", (unsigned long long)steps[s]);
		ids_fini(&t);
	}
}

/* A table whose bytes are not what they were leads nowhere, and a look ends. */
static void numbering_damaged(void)
{
	uint64_t v[3] = { 0, 11, 12 };
	uint32_t slots[4] = { 9, 9, 9, 9 };
	const struct ids t = { .v = v, .slots = slots, .bits = 2, .n = 2, .times = 1 };

	tap_is_int(ids_find(&t, 11), 0, "numbers beyond the table");
	slots[0] = slots[1] = slots[2] = slots[3] = 2;
	tap_is_int(ids_find(&t, 11), 0, "a table without a free place");
	tap_is_int(ids_find(&t, 12), 2, "what is there is found all the same");
	tap_is_int(ids_find(&(struct ids){ 0 }, 12), 0, "no table");
}

static int by_number(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* As printf writes them: at each number of digits the first and the last. */
static void decimals(void)
{
	uint64_t power = 1;
	struct buf b;
	char text[32];
	size_t wrong = 0;

	buf_init(&b, 64);
	for (int digits = 1; digits <= 20; digits++, power *= digits <= 20 ? 10 : 1) {
		const uint64_t v[] = { power - 1, power, power + 1, power * 9 / 7, UINT64_MAX - power };
		for (size_t i = 0; i < ARRAY_LEN(v); i++) {
			buf_reset(&b);
			buf_u64(&b, v[i]);
			snprintf(text, sizeof(text), "%llu", (unsigned long long)v[i]);
			wrong += strcmp(text, b.p) != 0;
		}
	}
	buf_fini(&b);
	tap_is_int((long)wrong, 0, "numbers in decimal");
	buf_init(&b, 5);
	buf_u64(&b, 123);
	buf_u64(&b, 456);
	buf_u64(&b, 7);
	tap_ok(buf_failed(&b) && strcmp(b.p, "123") == 0, "of a number that has no room nothing is written, nor of what follows");
	buf_fini(&b);
}

/* Formats of ours and those that are left to the C library, in as much room as there is. */
static bool formats_as_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static bool formats_as_printf(const char *fmt, ...)
{
	char ours[64], theirs[64];
	bool same = true;

	for (size_t max = 0; max <= sizeof(ours); max++) {
		va_list a, b;
		memset(ours, 'x', sizeof(ours));
		memset(theirs, 'x', sizeof(theirs));
		va_start(a, fmt);
		va_copy(b, a);
		same &= text_vformat(ours, max, fmt, a) == vsnprintf(theirs, max, fmt, b) && memcmp(ours, theirs, max ? strlen(theirs) + 1 : sizeof(ours)) == 0;
		va_end(b);
		va_end(a);
	}
	return same;
}

static void formats(void)
{
	const char *volatile none = NULL;

	tap_ok(formats_as_printf("no conversion") && formats_as_printf("%%%s", "") && formats_as_printf("100%%"), "text and per cent");
	tap_ok(formats_as_printf("%s: %s, %c%c", "one", "two", 'x', '\n'), "strings and characters");
	tap_ok(formats_as_printf("<%.*s>%.*s|%.*s", 3, "four", 9, "five", -1, "six") && formats_as_printf("%.*s.", 0, none), "strings that are cut");
	tap_ok(formats_as_printf("%d %d %d %d", 0, -1, INT_MAX, INT_MIN) && formats_as_printf("%u %u", 0U, UINT_MAX), "int and unsigned");
	tap_ok(formats_as_printf("%lu %llu %zu", ULONG_MAX, ULLONG_MAX, SIZE_MAX) && formats_as_printf("%zu", (size_t)0), "larger ones");
	tap_ok(formats_as_printf("%s %08x %s", "before", 255U, "after") && formats_as_printf("%d %5.2f %-9s| %ld", 7, 2.5, "left", -3L), "what printf has to do");
	tap_ok(formats_as_printf("%s and %s", "some", none), "no string at all");
}

/* Two processes that were one go on from the same place. */
static void unique(void)
{
	enum { EACH = 1000 };
	static uint64_t v[2 * EACH];
	int fds[2], status = -1;
	size_t same = 0;

	(void)unique_u64();
	tap_is_int(pipe(fds), 0, "a pipe");
	const pid_t pid = fork();
	for (size_t i = 0; i < EACH; i++)
		v[i] = unique_u64();
	if (pid == 0)
		_exit(write(fds[1], v, EACH * sizeof(*v)) == EACH * sizeof(*v) ? 0 : 1);
	tap_ok(waitpid(pid, &status, 0) == pid && status == 0 && read(fds[0], v + EACH, EACH * sizeof(*v)) == EACH * sizeof(*v), "numbers of two processes");
	close(fds[0]);
	close(fds[1]);
	qsort(v, 2 * EACH, sizeof(*v), by_number);
	for (size_t i = 1; i < 2 * EACH; i++)
		same += v[i] == v[i - 1];
	tap_is_int((long)same, 0, "no two are the same");
}

int main(void)
{
	unique();
	decimals();
	formats();
	numbering();
	numbering_damaged();
	test_to_lf();
	test_ascii_plain();
	sha();
	hmac();
	json();
	numbers();
	digits();
	sorting();
	base64();
	utf8();
	each_place();
	buffers();
	arenas();
	large_arrays();
	plain_arrays();
	maps();
	collisions();
	strings();
	errors();
	return tap_done();
}
