/* See sigform.h. */
#include "authres/sigform.h"

#include "authres/canon.h"

static void to_digest(void *ctx, struct str s)
{
	digest_add(ctx, s);
}

uint64_t sigform_body(struct str body, bool relaxed, uint64_t max, unsigned char out[32])
{
	struct digest *d = digest_new();
	const struct canon_sink sink = { to_digest, d };
	const uint64_t n = canon_body(&sink, body, relaxed, max);
	digest_end(&d, out);
	return n;
}

void sigform_field(struct digest *d, struct str field, bool relaxed)
{
	const struct canon_sink sink = { to_digest, d };
	canon_field(&sink, field, relaxed, false);
}

int sigform_fields(struct digest *d, struct arena *a, const struct mail_fields *f, struct str names, size_t names_max, const struct mail_field *own, bool relaxed)
{
	bool *used = ARENA_ARRAY(a, bool, f->n + 1);
	size_t n = 0;
	while (names.p != NULL && n++ < names_max) {
		const struct str name = str_trim(str_split(&names, ':'));
		for (size_t i = f->n; i > 0; i--) {
			if (used[i - 1] || !str_case_eq(f->v[i - 1].name, name))
				continue;
			used[i - 1] = true;
			if (&f->v[i - 1] != own)
				sigform_field(d, f->v[i - 1].whole, relaxed);
			break;
		}
	}
	return names.p == NULL ? 0 : -1;
}

void sigform_own(struct digest *d, struct arena *a, const struct mail_field *own, bool relaxed)
{
	const struct canon_sink sink = { to_digest, d };
	const size_t value_at = (size_t)(own->value.p - own->whole.p);
	struct str rest = own->value;
	size_t from = 0, to = 0;
	while (rest.p != NULL) {
		const struct str tag = str_split(&rest, ';');
		const ptrdiff_t eq = str_chr(tag, '=');
		if (eq < 0 || !str_eq(str_trim(str_sub(tag, 0, (size_t)eq)), STR("b")))
			continue;
		from = value_at + (size_t)(tag.p - own->value.p) + (size_t)eq + 1;
		to = from + tag.n - (size_t)eq - 1;
		break;
	}
	const struct str head = str_sub(own->whole, 0, from), tail = str_from(own->whole, to);
	char *copy = arena_alloc(a, head.n + tail.n + 1);
	memcpy(copy, head.p, head.n);
	memcpy(copy + head.n, tail.p, tail.n);
	canon_field(&sink, str_n(copy, head.n + tail.n), relaxed, true);
}
