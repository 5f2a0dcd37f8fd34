/* Any header with any edits: the view, turned into edits again, gives the same message, also after changes. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "mail/edit_view.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void apply(struct str head, const struct str *edits, size_t n, struct buf *out)
{
	struct err e = { 0 };

	buf_init(out, 1 << 20);
	assert(mail_edit_apply(head, edits, n, out, &e) == 0 || buf_failed(out));
	/* Without any edit a header stays byte for byte, also one that ends within a line. */
	if (out->n > 0 && out->p[out->n - 1] != '\n')
		buf_ch(out, '\n');
}

/* Lines before "\n\n": edits, one each; then the header. The first byte says what is changed. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest = str_n(data, size), edits[8], *made;
	struct arena *a = arena_new(1 << 22);
	struct mail_view w;
	struct err e = { 0 };
	struct buf want, got;
	size_t n = 0, n_made, head_n = 0, body;

	const size_t at = size > 0 ? data[0] % 8 : 0;
	rest = str_from(rest, 1);
	while (n < 8 && rest.n > 0) {
		const struct str line = str_split(&rest, '\n');
		if (line.n == 0)
			break;
		if (mail_edit_check(line, &e) == 0)
			edits[n++] = line;
	}
	if (rest.p && mail_head_find(rest, true, &head_n, &body) == 0)
		rest = str_sub(rest, 0, head_n);
	if (rest.p && mail_view_make(&w, a, rest, edits, n, &e) == 0) {
		apply(rest, edits, n, &want);
		if (mail_view_edits(&w, &made, &n_made, 256, &e) == 0) {
			apply(rest, made, n_made, &got);
			assert(str_eq(buf_view(&want), buf_view(&got)));
			buf_fini(&got);
		}
		buf_fini(&want);
		if (mail_view_remove(&w, at, &e) == 0)
			(void)!mail_view_change(&w, at, STR("changed"), &e);
		(void)!mail_view_insert(&w, at < w.n ? at : w.n, STR("X"), STR("y"), &e);
		if (mail_view_edits(&w, &made, &n_made, 256, &e) == 0)
			for (size_t i = 0; i < n_made; i++)
				assert(mail_edit_check(made[i], &e) == 0);
	}
	arena_free(&a);
	return 0;
}
