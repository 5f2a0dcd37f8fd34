/* PCRE2 behind a small interface: see pcre.h. The only file that includes pcre2.h. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "map/pcre.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/num.h"

struct pcre {
	pcre2_code *code;
	bool jit;
};

/* Scratch of a match, shared by all patterns of the process: one thread, and nothing of it outlives a call. */
static struct {
	pcre2_match_data *data;
	pcre2_match_context *limits;
	pcre2_jit_stack *stack;
	bool sealed;	/* the allocator of machine code keeps its lists beside the code: nothing is added or freed any more */
} work;

enum { JIT_STACK_START = 32 << 10, JIT_STACK_MAX = 1 << 20 };

static int flag_bits(const char *flags, uint32_t *out, struct err *e)
{
	static const struct {
		char letter;
		uint32_t bit;
	} known[] = { { 'i', PCRE2_CASELESS }, { 'm', PCRE2_MULTILINE }, { 's', PCRE2_DOTALL }, { 'x', PCRE2_EXTENDED }, { 'U', PCRE2_UNGREEDY },
		    { 'n', PCRE2_NO_AUTO_CAPTURE }, { 'J', PCRE2_DUPNAMES }, { 'A', PCRE2_ANCHORED }, { 'E', PCRE2_DOLLAR_ENDONLY }, { 'X', 0 } };	/* X: PCRE2 has no other way */
	uint32_t bits = 0;
	for (; *flags != '\0'; flags++) {
		size_t i = 0;
		while (i < ARRAY_LEN(known) && known[i].letter != *flags)
			i++;
		if (i == ARRAY_LEN(known))
			return err_set(e, ERR_CONF, 0, "unknown pattern flag '%c' (known: i m s x U n J A E X)", *flags);
		bits ^= known[i].bit;	/* pcre_table(5): a flag toggles */
	}
	*out = bits;
	return 0;
}

static int work_ready(struct err *e)
{
	if (work.data != NULL)
		return 0;
	work.data = pcre2_match_data_create(PCRE_GROUPS_MAX, NULL);
	work.limits = pcre2_match_context_create(NULL);
	work.stack = pcre2_jit_stack_create(JIT_STACK_START, JIT_STACK_MAX, NULL);
	if (work.data == NULL || work.limits == NULL)
		return err_set(e, ERR_TEMP, 0, "no memory for a pattern");
	pcre2_set_match_limit(work.limits, PCRE_MATCH_LIMIT);
	pcre2_set_heap_limit(work.limits, PCRE_HEAP_LIMIT_KIB);
	pcre2_set_depth_limit(work.limits, PCRE_DEPTH_LIMIT);
	if (work.stack != NULL)
		pcre2_jit_stack_assign(work.limits, NULL, work.stack);
	return 0;
}

int pcre_compile(struct str pattern, const char *flags, bool jit, struct pcre **out, struct err *e)
{
	uint32_t bits;
	int code;
	PCRE2_SIZE at;
	if (flag_bits(flags, &bits, e) < 0)
		return -1;
	struct pcre *p = xzalloc(sizeof(*p));
	p->code = pcre2_compile((PCRE2_SPTR)pattern.p, pattern.n, bits | PCRE2_NEVER_BACKSLASH_C | PCRE2_USE_OFFSET_LIMIT, &code, &at, NULL);
	if (p->code == NULL) {
		PCRE2_UCHAR text[160];
		pcre2_get_error_message(code, text, sizeof(text));
		free(p);
		return err_set(e, ERR_CONF, 0, "pattern: %s at offset %zu", (const char *)text, at);
	}
	if (work_ready(e) < 0) {
		pcre_free(&p);
		return -1;
	}
	p->jit = jit && !work.sealed && pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE) == 0;
	*out = p;
	return 0;
}

int pcre_parse(struct str in, bool jit, struct pcre **out, struct str *rest, struct err *e)
{
	if (in.n < 2 || ch_alnum(in.p[0]) || ch_space(in.p[0]) || in.p[0] == '\\')
		return err_set(e, ERR_CONF, 0, "a pattern begins with a delimiter, as in /…/");
	char delimiter = in.p[0];
	size_t end = 1;
	while (end < in.n && in.p[end] != delimiter)
		end += in.p[end] == '\\' && end + 1 < in.n ? 2 : 1;
	if (end >= in.n)
		return err_set(e, ERR_CONF, 0, "a pattern lacks its closing %c", delimiter);
	char flags[8] = "";
	size_t n = 0, at = end + 1;
	while (at < in.n && ch_alpha(in.p[at]) && n + 1 < sizeof(flags))
		flags[n++] = in.p[at++];
	if (pcre_compile(str_sub(in, 1, end - 1), flags, jit, out, e) < 0)
		return -1;
	*rest = str_from(in, at);
	return 0;
}

void pcre_free(struct pcre **p)
{
	if (*p == NULL)
		return;
	if (!work.sealed || !(*p)->jit)
		pcre2_code_free((*p)->code);
	free(*p);
	*p = NULL;
}

/* PCRE2's result: the number of groups set, 0 none matched, -1. Machine code whose stack is too small for the subject gives way to the interpreter. */
static int run(const struct pcre *p, struct str subject, size_t from, size_t to, struct err *e)
{
	const PCRE2_SPTR text = (PCRE2_SPTR)(subject.p == NULL ? "" : subject.p);
	pcre2_set_offset_limit(work.limits, to);
	int r = PCRE2_ERROR_JIT_STACKLIMIT;
	if (p->jit)
		r = pcre2_jit_match(p->code, text, subject.n, from, 0, work.data, work.limits);
	if (r == PCRE2_ERROR_JIT_STACKLIMIT)
		r = pcre2_match(p->code, text, subject.n, from, PCRE2_NO_JIT, work.data, work.limits);
	if (r == PCRE2_ERROR_NOMATCH)
		return 0;
	if (r < 0) {
		bool limit = r == PCRE2_ERROR_MATCHLIMIT || r == PCRE2_ERROR_HEAPLIMIT || r == PCRE2_ERROR_DEPTHLIMIT;
		return err_set(e, limit ? ERR_LIMIT : ERR_BUG, 0, limit ? "a pattern needs more than its limits" : "a pattern failed (%d)", r);
	}
	return r == 0 ? PCRE_GROUPS_MAX : r;
}

int pcre_match(const struct pcre *p, struct str subject, struct str *groups, size_t n, struct err *e)
{
	int set = run(p, subject, 0, PCRE2_UNSET, e);
	if (set <= 0)
		return set;
	const char *from = subject.p == NULL ? "" : subject.p;
	const PCRE2_SIZE *at = pcre2_get_ovector_pointer(work.data);
	for (size_t i = 0; i < n && groups != NULL; i++) {
		bool there = i < (size_t)set && at[2 * i] != PCRE2_UNSET && at[2 * i] <= at[2 * i + 1];
		groups[i] = there ? str_n(from + at[2 * i], at[2 * i + 1] - at[2 * i]) : STR("");
	}
	return 1;
}

int pcre_find(const struct pcre *p, struct str subject, size_t from, size_t to, size_t *start_out, size_t *end_out, struct err *e)
{
	int set = from > subject.n ? 0 : run(p, subject, from, to, e);
	if (set <= 0)
		return set;
	const PCRE2_SIZE *at = pcre2_get_ovector_pointer(work.data);
	*start_out = at[0] < at[1] ? at[0] : at[1];
	*end_out = at[1];
	return 1;
}

/* PCRE2 keeps its machine code in anonymous mappings that stay writable. */
int pcre_seal(struct err *e)
{
	FILE *f = fopen("/proc/self/maps", "re");
	if (f == NULL)
		return err_set(e, ERR_TEMP, errno, "/proc/self/maps");
	char line[512];
	int r = 0;
	work.sealed = true;
	while (r == 0 && fgets(line, sizeof(line), f) != NULL) {
		struct str rest = str_c(line), from, to, rights;
		uint64_t a, b;
		from = str_split(&rest, '-');
		to = str_split(&rest, ' ');
		rights = str_split(&rest, ' ');
		if (!str_starts(rights, STR("rwx")) || num_parse_hex(from, UINT64_MAX, &a) < 0 || num_parse_hex(to, UINT64_MAX, &b) < 0)
			continue;
		if (mprotect((void *)(uintptr_t)a, (size_t)(b - a), PROT_READ | PROT_EXEC) < 0)
			r = err_set(e, ERR_TEMP, errno, "machine code of patterns stays writable");
	}
	fclose(f);
	return r;
}

int pcre_expand(struct str t, const struct str *groups, size_t n, struct buf *out, struct err *e)
{
	while (t.n > 0) {
		ptrdiff_t dollar = str_chr(t, '$');
		if (dollar < 0 || (size_t)dollar + 1 >= t.n) {
			buf_str(out, t);
			break;
		}
		buf_str(out, str_sub(t, 0, (size_t)dollar));
		t = str_from(t, (size_t)dollar + 1);
		if (t.p[0] == '$') {
			buf_ch(out, '$');
			t = str_from(t, 1);
			continue;
		}
		char close = t.p[0] == '{' ? '}' : t.p[0] == '(' ? ')' : '\0';
		if (close != '\0')
			t = str_from(t, 1);
		uint64_t k;
		if (num_take(&t, PCRE_GROUPS_MAX - 1, &k) < 0 || k == 0 || k >= n)
			return err_set(e, ERR_CONF, 0, "the result names a group that the pattern has not");
		if (close != '\0' && (t.n == 0 || t.p[0] != close))
			return err_set(e, ERR_CONF, 0, "the result lacks a closing %c", close);
		if (close != '\0')
			t = str_from(t, 1);
		buf_str(out, groups[k]);
	}
	return buf_check(out, "the expanded result", e);
}
