/* The words of a message that say what it is (bayes.h): of the text a reader sees, of what is hidden, of the header with the field's name in front, hosts of
 * links, kinds of parts. Each once, as a hash. Pure. */
#include <stdlib.h>

#include "base/ids.h"
#include "spam/bayes.h"
#include "spam/html.h"

/* v: the hashes so far, each once; words: of how many. */
struct sink { struct msg *m; uint64_t *v; size_t n, words; struct ids seen; };

/* FNV-1a, finished so that all bits count; the same in every process and release. */
static uint64_t fnv(uint64_t h, unsigned char c)
{
	return (h ^ c) * 0x100000001b3ull;
}

static uint64_t begun(const char *prefix)
{
	uint64_t h = 0xcbf29ce484222325ull;
	for (; *prefix != '\0'; prefix++)
		h = fnv(h, (unsigned char)*prefix);
	return h;
}

static uint64_t finished(uint64_t h)
{
	h ^= h >> 32;
	h *= 0x9e3779b97f4a7c15ull;
	return h ^ h >> 29;
}

static uint64_t hash(const char *prefix, struct str word, bool fold)
{
	uint64_t h = begun(prefix);
	for (size_t i = 0; i < word.n; i++)
		h = fnv(h, (unsigned char)(fold ? ch_lower(word.p[i]) : word.p[i]));
	return finished(h);
}

static void add_as(struct sink *s, const char *prefix, struct str word, bool fold)
{
	if (s->words == BAYES_TOKENS_MAX)
		return;
	const uint64_t h = hash(prefix, word, fold);
	s->words++;
	if (ids_number(&s->seen, h) > s->n)
		s->v[s->n++] = h;
}

static void add(struct sink *s, const char *prefix, struct str word)
{
	add_as(s, prefix, word, false);
}

static void add_folded(struct sink *s, const char *prefix, struct str word)
{
	add_as(s, prefix, word, true);
}

static bool inside(char c)
{
	return ch_alnum(c) || (unsigned char)c >= 0x80 || c == '\'' || c == '-' || c == '.' || c == '$' || c == '!' || c == '_' || c == '@';
}

static bool edge(char c)
{
	return c == '\'' || c == '-' || c == '.' || c == '_' || c == '@';
}

/* Words of a text. Long ones count by their beginning and length. */
static void words(struct sink *s, const char *prefix, struct str text)
{
	for (size_t i = 0; i < text.n && s->words < BAYES_TOKENS_MAX;) {
		if (!inside(text.p[i])) {
			i++;
			continue;
		}
		size_t end = i;
		while (end < text.n && inside(text.p[end]))
			end++;
		struct str w = str_sub(text, i, end - i);
		i = end;
		while (w.n > 0 && edge(w.p[0]))
			w = str_from(w, 1);
		while (w.n > 0 && edge(w.p[w.n - 1]))
			w.n--;
		if (w.n < BAYES_WORD_MIN)
			continue;
		if (w.n > BAYES_WORD_MAX) {
			add_folded(s, "long:", str_sub(w, 0, 8));
			continue;
		}
		add_folded(s, prefix, w);
		if (prefix[0] == '\0')
			add(s, "c:", w);	/* and as it is written */
	}
}

/* --- header --- */

static bool ignored(const struct set *set, struct str key)
{
	static const char *const starts[] = { "x-spam", "x-virus", "x-amavis", "x-uidl", "status", "x-status", "x-mozilla", "x-keywords", "delivered-to", "lines",
					      "content-length", "x-quarantine", "authentication-results", "x-evolution", "x-pstn", "delivery-date", "x-original-to" };
	for (size_t i = 0; i < ARRAY_LEN(starts); i++)
		if (str_starts(key, str_c(starts[i])))
			return true;
	for (const struct names *n = set->bayes_ignore; n != NULL; n = n->next)
		if (str_case_eq(n->v, key))
			return true;
	return false;
}

/* Which prefix a field's words have; NULL: only that it is there. */
static const char *field_prefix(struct str key)
{
	static const struct { const char *key, *prefix; } known[] = {
		{ "subject", "subj:" }, { "from", "from:" }, { "to", "to:" }, { "cc", "to:" }, { "reply-to", "repl:" }, { "return-path", "rtrn:" }, { "sender", "send:" },
		{ "received", "rcvd:" }, { "message-id", "mid:" }, { "x-mailer", "ua:" }, { "user-agent", "ua:" }, { "content-type", "ct:" }, { "mime-version", "ct:" },
		{ "content-transfer-encoding", "ct:" }, { "list-id", "list:" }, { "organization", "org:" },
	};
	static const char *const silent[] = { "date", "references", "in-reply-to", "dkim-signature", "domainkey-signature", "resent-date", "thread-index", "x-face" };
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (str_eq(key, str_c(known[i].key)))
			return known[i].prefix;
	for (size_t i = 0; i < ARRAY_LEN(silent); i++)
		if (str_eq(key, str_c(silent[i])))
			return NULL;
	return "head:";
}

static void header(struct sink *s)
{
	for (size_t i = 0; i < s->m->fields.n; i++) {
		struct field *f = &s->m->fields.v[i];
		if (ignored(s->m->s, f->key))
			continue;
		add(s, "field:", f->name);
		const char *prefix = field_prefix(f->key);
		if (prefix != NULL)
			words(s, prefix, field_value(s->m->a, f));
	}
}

/* --- links and parts --- */

static void host(struct sink *s, struct str h)
{
	add(s, "host:", h);
	for (struct str rest = h; rest.n > 0;) {
		str_split(&rest, '.');
		if (rest.p == NULL || str_chr(rest, '.') < 0)
			break;
		add(s, "host:", rest);
	}
}

static void links(struct sink *s)
{
	msg_uris(s->m);
	for (size_t i = 0; i < s->m->n_uris; i++) {
		const struct uri *u = &s->m->uris[i];
		for (size_t k = 0; k < u->hosts.n; k++)
			host(s, u->hosts.v[k]);
		words(s, "url:", u->raw);
	}
}

static void parts(struct sink *s)
{
	for (size_t i = 0; i < s->m->n_parts; i++) {
		struct part *p = &s->m->parts[i];
		add(s, "part:", p->type);
		if (p->charset.n > 0)
			add_folded(s, "charset:", p->charset);
		if (p->name.n > 0)
			words(s, "name:", p->name);
		for (size_t k = 0; p->html != NULL && k < p->html->n_tag; k++)
			add(s, "tag:", p->html->tag[k].name);
	}
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

size_t bayes_tokens(struct msg *m, uint64_t **out)
{
	struct sink s = { .m = m, .v = ARENA_ARRAY(m->a, uint64_t, BAYES_TOKENS_MAX) };
	ids_init(&s.seen, 2000);
	header(&s);
	msg_body_lines(m);
	parts(&s);
	links(&s);
	for (size_t i = 0; i < m->n_parts; i++) {
		if (m->parts[i].visible.n > 0)
			words(&s, "", m->parts[i].visible);
		if (m->parts[i].invisible.n > 0)
			words(&s, "hidden:", m->parts[i].invisible);
	}
	ids_fini(&s.seen);
	if (s.n > 1)
		qsort(s.v, s.n, sizeof(*s.v), by_value);
	*out = s.v;
	return s.n;
}

void bayes_digest(struct msg *m, unsigned char out[BAYES_DIGEST])
{
	const struct field *id = field_last(m->a, &m->fields, "message-id"), *date = field_last(m->a, &m->fields, "date");
	struct str a = id == NULL ? STR("") : id->value, b = date == NULL ? STR("") : date->value;
	/* Twice over the whole body: at once, for each byte waits for the one before. */
	uint64_t first = begun("1:"), second = begun("4:");
	for (size_t i = 0; i < m->body.n; i++) {
		first = fnv(first, (unsigned char)m->body.p[i]);
		second = fnv(second, (unsigned char)m->body.p[i]);
	}
	const uint64_t v[2] = { finished(first), hash("2:", a, false) ^ hash("3:", b, false) ^ finished(second) };
	memcpy(out, v, BAYES_DIGEST);
}
