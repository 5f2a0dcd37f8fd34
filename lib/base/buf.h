/* A growing byte buffer, always NUL-terminated, with a maximum given when it is made. The first failure
 * (maximum reached) sticks: later appends do nothing, and the caller asks once, at the end.
 *
 *	struct buf b;
 *	buf_init(&b, params.line_max);
 *	buf_printf(&b, "%d ", code); buf_str(&b, text); buf_c(&b, "\r\n");
 *	if (buf_failed(&b)) return err_set(e, ERR_LIMIT, 0, "reply too long");
 *	buf_fini(&b);
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

struct buf {
	char *p;	/* NUL-terminated; never NULL after buf_init */
	size_t n;	/* bytes, without the NUL */
	size_t cap, max;
	bool failed;
};

void buf_init(struct buf *b, size_t max);	/* allocates nothing yet */
void buf_fini(struct buf *b);			/* frees; b is as after buf_init(b, max) */
void buf_wipe(struct buf *b);			/* overwrites all memory, then empties: for secrets */
void buf_reset(struct buf *b);			/* n = 0, failure forgotten, memory kept */
bool buf_failed(const struct buf *b);
int buf_check(const struct buf *b, const char *what, struct err *e) MUST_CHECK;	/* 0, or ERR_LIMIT "what too long" */

void buf_mem_slow(struct buf *b, const void *p, size_t n);	/* buf_mem's, when there is no room yet */
static inline void buf_mem(struct buf *b, const void *p, size_t n)
{
	if (n == 0)
		return;
	if (b->failed || b->cap <= b->n || b->cap - b->n <= n) {
		buf_mem_slow(b, p, n);
		return;
	}
	memcpy(b->p + b->n, p, n);
	b->n += n;
	b->p[b->n] = '\0';
}
static inline void buf_str(struct buf *b, struct str s) { buf_mem(b, s.p, s.n); }
static inline void buf_c(struct buf *b, const char *s) { buf_mem(b, s, strlen(s)); }
static inline void buf_ch(struct buf *b, char c) { buf_mem(b, &c, 1); }
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_u64(struct buf *b, unsigned long long v);	/* decimal, fast */
/* Seconds of so many microseconds, as logs of mail servers have them: "0" below half a millisecond, one significant place below 10 ms, two below a second, one after the
 * point below ten seconds. */
void buf_seconds(struct buf *b, uint64_t us);
/* n bytes to be written by the caller at the returned place (NULL when over the max), then buf_added(b, k<=n). */
char *buf_room(struct buf *b, size_t n);
static inline void buf_added(struct buf *b, size_t n)
{
	b->n += n;
	if (b->cap > 0)
		b->p[b->n] = '\0';
}
void buf_cut(struct buf *b, size_t n);		/* shorten to n bytes */
void buf_shift(struct buf *b, size_t n);	/* drop the first n bytes */
static inline struct str buf_view(const struct buf *b) { return (struct str){ b->p, b->n }; }	/* borrows until the next change */

#endif
