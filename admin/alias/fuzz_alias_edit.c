/* Any bytes as a source, a name and a target: what is added is there once, what is taken away is not, and all other entries stay as they are. */
#include <assert.h>
#include <stdint.h>

#include "admin/alias/alias_edit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	struct str name;
	size_t all, mine;
};

static void look(void *ctx, const struct alias_entry *x)
{
	struct seen *s = ctx;

	s->all++;
	s->mine += str_case_eq(x->name, s->name);
}

static struct seen seen_in(struct str text, enum alias_form form, struct str name)
{
	struct seen s = { .name = name };

	alias_edit_each(text, form, look, &s);
	return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest = str_n(data, size);
	const struct str name = str_split(&rest, '\1'), target = str_split(&rest, '\1');
	const enum alias_form form = size % 2 ? ALIAS_FORM_COLON : ALIAS_FORM_PAIR;
	const struct seen before = seen_in(rest, form, name);
	struct err e = { 0 };
	struct buf added, removed;
	size_t n;

	if (rest.p == NULL)
		return 0;
	buf_init(&added, 1 << 20);
	buf_init(&removed, 1 << 20);
	if (alias_edit_add(rest, form, name, &target, 1, &added, &n, &e) == 0) {
		const struct seen now = seen_in(buf_view(&added), form, name);
		assert(now.all == before.all + (before.mine == 0) && now.mine >= 1 && n <= 1);
		if (alias_edit_del(buf_view(&added), form, name, NULL, 0, &removed, &n, &e) == 0) {
			const struct seen after = seen_in(buf_view(&removed), form, name);
			assert(after.mine == 0 && after.all + n == now.all);
		}
	}
	buf_fini(&added);
	buf_fini(&removed);
	return 0;
}
