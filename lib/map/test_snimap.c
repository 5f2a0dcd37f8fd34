/* tls_server_sni_maps as text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "map/snimap.h"
#include "test/tap.h"

/* "name@line:chain|key,chain|key;" of all names. */
static const char *shown(const struct snimap *m)
{
	static char text[1000];
	size_t at = 0;

	text[0] = '\0';
	for (size_t i = 0; i < m->n_names; i++) {
		const struct snimap_name *n = &m->names[i];

		at += (size_t)snprintf(text + at, sizeof(text) - at, "%.*s@%u:", STR_ARG(n->name), n->line);
		for (size_t k = 0; k < n->n_pairs; k++)
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s|%s", k ? "," : "", m->pairs[n->pairs[k]].chain, m->pairs[n->pairs[k]].key);
		at += (size_t)snprintf(text + at, sizeof(text) - at, ";");
	}
	return text;
}

static void texts(void)
{
	static const struct {
		const char *text, *want;	/* want: names, or what the error says */
		bool good;
		size_t pairs;
	} cases[] = {
		{ "", "", true, 0 },
		{ "# nothing\n\n", "", true, 0 },
		{ "mail.example.net /a/c.pem /a/k.pem\n", "mail.example.net@1:/a/c.pem|/a/k.pem;", true, 1 },
		{ "a /c,/k\n.b\t/c /k\n", "a@1:/c|/k;.b@2:/c|/k;", true, 1 },
		{ "a /c /k, /c2 /k2\nb /c2 /k2\n", "a@1:/c|/k,/c2|/k2;b@2:/c2|/k2;", true, 2 },
		{ "a\n  /c\n  /k\nb /c /k2", "a@1:/c|/k;b@4:/c|/k2;", true, 2 },
		{ "a /c /k,\n", "a@1:/c|/k;", true, 1 },
		{ "a\n", "t:1: \"a\": no value", false, 0 },
		{ "x /c /k\na /both.pem\n", "t:2: /both.pem: a chain without a key", false, 0 },
		{ "a /both.pem /both.pem\n", "t:1: /both.pem: a chain without a key", false, 0 },
		{ "a /c /k /c2\n", "t:1: /c2: a chain without a key", false, 0 },
		{ "a c.pem /k\n", "t:1: \"c.pem\" (allowed: absolute paths)", false, 0 },
		{ "a /c k.pem\n", "t:1: \"k.pem\" (allowed: absolute paths)", false, 0 },
		{ "a ,,,\n", "t:1: a: no files", false, 0 },
		{ "a: /c /k\n", "t:1: \"a:\": a colon after the key", false, 0 },
		{ "a /1 /1k /2 /2k /3 /3k /4 /4k\n", "t:1: more than 3 certificates for one name", false, 0 },
		{ "a /c\r\n", "t:1:", false, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *a = arena_new(0);
		struct snimap m = { .n_pairs = 0 };
		struct err e = { 0 };
		const int r = snimap_parse(str_c(cases[i].text), "t", a, &m, &e);

		tap_is_int(r, cases[i].good ? 0 : -1, "case %zu: %s", i, e.text);
		if (cases[i].good) {
			tap_is_str(shown(&m), cases[i].want, "names and files");
			tap_is_int((long long)m.n_pairs, (long long)cases[i].pairs, "each pair once");
		} else {
			tap_ok(strncmp(e.text, cases[i].want, strlen(cases[i].want)) == 0, "told: %s", e.text);
		}
		arena_free(&a);
	}
}

static void limits_hold(void)
{
	struct arena *a = arena_new(0);
	struct snimap names = { .n_pairs = 0 }, pairs = { .n_pairs = 0 };
	struct err e = { 0 };
	struct buf text;

	buf_init(&text, SNIMAP_BYTES_MAX);
	for (int i = 0; i <= SNIMAP_NAMES_MAX; i++)
		buf_printf(&text, "n%d /c /k\n", i);
	tap_ok(snimap_parse(buf_view(&text), "t", a, &names, &e) < 0 && (int)names.n_names == SNIMAP_NAMES_MAX, "%s", e.text);
	buf_reset(&text);
	for (int i = 0; i <= SNIMAP_PAIRS_MAX; i++)
		buf_printf(&text, "n%d /c%d /k\n", i, i);
	tap_ok(snimap_parse(buf_view(&text), "t", a, &pairs, &e) < 0 && (int)pairs.n_pairs == SNIMAP_PAIRS_MAX, "%s", e.text);
	buf_fini(&text);
	arena_free(&a);
}

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (f) {
		(void)fputs(text, f);
		(void)fclose(f);
	}
}

static void files(void)
{
	struct arena *a = arena_new(0);
	char one[] = "/tmp/test_snimap.XXXXXX", two[] = "/tmp/test_snimap.XXXXXX";
	struct snimap m;
	struct err e = { 0 };

	close(mkstemp(one));
	close(mkstemp(two));
	put(one, "a /c /k\n");
	put(two, "b /c /k\nc /c2 /k2\n");
	const char *specs[] = { arena_printf(a, "texthash:%s", one), arena_printf(a, "texthash:%s", two) };
	tap_is_int(snimap_read((struct conf_list){ specs, 2 }, a, &m, &e), 0, "two tables %s", e.text);
	tap_is_str(shown(&m), "a@1:/c|/k;b@1:/c|/k;c@2:/c2|/k2;", "are one");
	tap_is_int((long long)m.n_pairs, 2, "and share their certificates");
	static const char *const wrong[] = { "hash:/x", "texthash:x", "texthash:/nonexistent", "/x", "" };
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		tap_ok(snimap_read((struct conf_list){ &wrong[i], 1 }, a, &m, &e) < 0, "no table: %s", e.text);
	if (geteuid() != 0) {
		tap_skip(2, "owners are root's business");
	} else {
		(void)chmod(two, 0664);
		tap_ok(snimap_read((struct conf_list){ specs, 2 }, a, &m, &e) < 0, "others may write it: %s", e.text);
		tap_ok(chown(one, 65534, 0) == 0 && snimap_read((struct conf_list){ specs, 1 }, a, &m, &e) < 0, "another's: %s", e.text);
	}
	(void)unlink(one);
	(void)unlink(two);
	arena_free(&a);
}

int main(void)
{
	texts();
	limits_hold();
	files();
	return tap_done();
}
