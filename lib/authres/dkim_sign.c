/* See dkim_sign.h. */
#include "authres/dkim_sign.h"

#include "authres/sigform.h"
#include "base/enc.h"

enum { ONCE, MORE, LINE_MAX_ = 72, NAMES_SIGNED_MAX = 100 };

static const struct {
	const char *name;
	int more;
} signed_fields[] = {
#define SIGNED(name, more) { name, more },
#include "authres/signed.def"
#undef SIGNED
};

const char *dkim_algorithm(enum sig_kind kind)
{
	return kind == SIG_RSA_SHA256 ? "rsa-sha256" : "ed25519-sha256";
}

struct dkim_letter dkim_letter(struct arena *a, struct str head, struct str body)
{
	struct dkim_letter l = { .fields = mail_fields_of(a, head) };
	(void)sigform_body(body, true, UINT64_MAX, l.body);
	return l;
}

static size_t count(const struct mail_fields *f, const char *name)
{
	size_t n = 0;
	for (size_t i = 0; i < f->n; i++)
		n += str_case_eq(f->v[i].name, str_c(name));
	return n;
}

struct names {
	struct buf *out;
	size_t n, column;
};

static void put_name(struct names *w, const char *name)
{
	const size_t n = strlen(name);
	if (w->n++ > 0)
		buf_ch(w->out, ':');
	if (w->column + n > LINE_MAX_) {
		buf_c(w->out, "\n\t");
		w->column = 8;
	}
	for (size_t i = 0; i < n; i++)
		buf_ch(w->out, ch_lower(name[i]));
	w->column += n + 1;
}

void dkim_put_names(struct buf *out, const struct mail_fields *f, const char *const *more, size_t n_more)
{
	struct names w = { out, 0, 10 };
	for (size_t i = 0; i < ARRAY_LEN(signed_fields); i++) {
		const size_t n = count(f, signed_fields[i].name) + (signed_fields[i].more == MORE);
		for (size_t k = 0; k < n && w.n < NAMES_SIGNED_MAX; k++)
			put_name(&w, signed_fields[i].name);
	}
	for (size_t i = 0; i < n_more; i++)
		for (size_t k = count(f, more[i]); k > 0 && w.n < NAMES_SIGNED_MAX; k--)
			put_name(&w, more[i]);
}

static void put_base64(struct buf *out, struct str raw)
{
	struct buf text;
	buf_init(&text, 4 * raw.n + 8);
	base64_encode(&text, raw);
	for (size_t i = 0; i < text.n; i += LINE_MAX_) {
		if (i > 0)
			buf_c(out, "\n\t ");
		buf_str(out, str_sub(buf_view(&text), i, LINE_MAX_));
	}
	buf_fini(&text);
}

int dkim_finish(struct arena *a, struct buf *text, struct digest **d, const struct dkim_signer *k, struct err *e)
{
	unsigned char hash[32];
	struct mail_field own;
	struct str in = buf_view(text);
	struct buf sig;
	if (buf_failed(text) || mail_field_next(&in, &own) != 0) {
		digest_free(d);
		return err_set(e, ERR_LIMIT, 0, "signature field too long");
	}
	sigform_own(*d, a, &own, true);
	digest_end(d, hash);
	buf_init(&sig, 2048);
	const int r = k->sign(k->ctx, k, hash, &sig, e);
	if (r == 0)
		put_base64(text, buf_view(&sig));
	buf_fini(&sig);
	return r < 0 ? -1 : buf_check(text, "signature field", e);
}

static void put_tags(struct buf *b, const struct dkim_letter *l, const struct dkim_signer *k, int64_t now)
{
	buf_printf(b, "DKIM-Signature: v=1; a=%s; c=relaxed/relaxed; d=%.*s;\n\ts=%.*s; t=%lld;\n\th=", dkim_algorithm(k->kind), STR_ARG(k->domain),
		   STR_ARG(k->selector), (long long)now);
	dkim_put_names(b, &l->fields, NULL, 0);
	buf_c(b, ";\n\tbh=");
	base64_encode(b, str_n(l->body, sizeof(l->body)));
	buf_c(b, ";\n\tb=");
}

/* What h= of the field in text names. */
static struct str names_of(struct str text)
{
	const ptrdiff_t at = str_find(text, STR("\n\th="));
	struct str rest = str_from(text, (size_t)at + 4);
	return str_split(&rest, ';');
}

int dkim_sign(struct arena *a, const struct dkim_letter *l, const struct dkim_signer *k, int64_t now, struct str *field_out, struct err *e)
{
	struct buf b;
	struct digest *d = digest_new();
	buf_init(&b, DKIM_SIGNED_FIELD_MAX);
	put_tags(&b, l, k, now);
	int r = buf_failed(&b) ? -1 : sigform_fields(d, a, &l->fields, arena_str(a, names_of(buf_view(&b))), NAMES_SIGNED_MAX + 1, NULL, true);
	if (r < 0) {
		digest_free(&d);
		(void)err_set(e, ERR_LIMIT, 0, "signature field too long");
	} else {
		r = dkim_finish(a, &b, &d, k, e);
	}
	if (r == 0)
		*field_out = arena_str(a, buf_view(&b));
	buf_fini(&b);
	return r;
}
