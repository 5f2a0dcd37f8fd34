/* Messages that refer to each other at random: each number is in the threads once, parentheses match, subjects of any bytes have a base. The first byte
 * chooses the algorithm; then per message: date, id, number of references, the references, a length and the subject. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/map.h"
#include "imap/sort.h"
#include "imap/thread.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MESSAGES_MAX = 2000, REFS_MAX = 16 };

static void check(struct str out, uint32_t n)
{
	uint32_t *seen = xzalloc((n + 1) * sizeof(*seen)), found = 0;
	int depth = 0;

	for (size_t i = 0; i < out.n;) {
		uint32_t number = 0;

		depth += out.p[i] == '(' ? 1 : out.p[i] == ')' ? -1 : 0;
		if (depth < 0)
			abort();
		if (out.p[i] < '0' || out.p[i] > '9') {
			i++;
			continue;
		}
		while (i < out.n && out.p[i] >= '0' && out.p[i] <= '9')
			number = number * 10 + (uint32_t)(out.p[i++] - '0');
		if (number == 0 || number > n || seen[number]++)
			abort();
		found++;
	}
	if (depth || found != n)
		abort();
	free(seen);
}

/* The same number for the same subject. */
static uint32_t subject_of(struct map *subjects, struct str base)
{
	void *have = base.n ? map_get(subjects, base) : NULL;

	if (base.n && !have)
		(void)map_set(subjects, base, have = (void *)(uintptr_t)(map_count(subjects) + 1));
	return (uint32_t)(uintptr_t)have;
}

static size_t one(struct map *subjects, struct imap_thread *t, uint32_t number, const uint8_t *p, size_t n)
{
	uint32_t refs[REFS_MAX];
	struct imap_thread_msg m = { .number = number, .refs = refs };
	size_t at = 3, len;
	struct buf base;

	if (n < 4)
		return n;
	m.date = (int8_t)p[0];
	m.id = p[1];
	for (size_t k = p[2] % REFS_MAX; k > 0 && at < n; k--)
		refs[m.n_refs++] = p[at++];
	len = at < n ? p[at++] % 32 : 0;
	if (len > n - at)
		len = n - at;
	buf_init(&base, 1000);
	m.reply = imap_base_subject(str_n(p + at, len), &base);
	m.subject = subject_of(subjects, buf_view(&base));
	buf_fini(&base);
	if (imap_thread_add(t, &m, NULL) < 0)
		abort();
	return at + len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct map *subjects;
	struct imap_thread *t;
	uint32_t number = 0;
	struct arena *a;
	struct buf out;
	size_t at = 1;

	if (size < 1)
		return 0;
	a = arena_new(0);
	subjects = map_new();
	t = imap_thread_new(a, (enum imap_thread_alg)(data[0] % IMAP_THREAD_MAX_), 0, 250, MESSAGES_MAX / 2);	/* some numbers are beyond */
	while (size - at >= 4 && number < MESSAGES_MAX)
		at += one(subjects, t, ++number, data + at, size - at);
	while (!imap_thread_step(t, 1 + data[0] / 4))
		;
	buf_init(&out, 1 << 20);
	while (!imap_thread_put(t, &out, 7))
		;
	check(buf_view(&out), number);
	buf_fini(&out);
	imap_thread_free(&t);
	map_free(&subjects);
	arena_free(&a);
	return 0;
}
