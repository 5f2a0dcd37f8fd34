/* struct str borrows bytes: a pointer and a length, no NUL needed, valid as long as what it points into.
 * Comparisons fold ASCII only; nothing here looks at the locale. A zeroed struct is the empty string. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
	const char *p;
	size_t n;
};

/* A literal, and a NUL-terminated trusted string, as struct str. For printf: "%.*s", STR_ARG(s). */
#define STR(lit) ((struct str){ (lit), sizeof(lit) - 1 })
#define STR_ARG(s) ((int)((s).n > 4096 ? 4096 : (s).n)), ((s).p ? (s).p : "")

static inline struct str str_c(const char *s)
{
	return (struct str){ s, s ? strlen(s) : 0 };
}
static inline struct str str_n(const void *p, size_t n)
{
	return (struct str){ p, n };
}

bool str_eq(struct str a, struct str b);
bool str_case_eq(struct str a, struct str b);		/* ASCII case folded */
int str_cmp(struct str a, struct str b);		/* <0, 0, >0, as memcmp, shorter first */
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
bool str_case_starts(struct str s, struct str prefix);
bool str_case_ends(struct str s, struct str suffix);
size_t str_span7(struct str s);				/* bytes before the first that has its high bit */
static inline bool str_has_8bit(struct str s) { return str_span7(s) < s.n; }

/* Index of the first (last) byte c, or -1. */
ptrdiff_t str_chr(struct str s, char c);
ptrdiff_t str_rchr(struct str s, char c);
/* Index of the first occurrence, or -1; the second folds ASCII case. An empty needle is found at 0. */
ptrdiff_t str_find(struct str s, struct str needle);
ptrdiff_t str_case_find(struct str s, struct str needle);

/* Bytes from..end (clamped to the length). */
static inline struct str str_from(struct str s, size_t from)
{
	if (from > s.n)
		from = s.n;
	return (struct str){ s.p == NULL ? NULL : s.p + from, s.n - from };
}
static inline struct str str_sub(struct str s, size_t from, size_t n)
{
	s = str_from(s, from);
	if (s.n > n)
		s.n = n;
	return s;
}
/* Without leading and trailing blanks, tabs, CR and LF. */
struct str str_trim(struct str s);
/* Cut *s at the first byte c: returns what is before it, leaves what is after it in *s. Without c: returns
 * all and leaves *s empty with p NULL. Loop: while (s.p) { part = str_split(&s, ','); … } */
struct str str_split(struct str *s, char c);
/* Next token separated by any run of bytes in seps (a C string); false when none is left. */
bool str_token(struct str *s, const char *seps, struct str *out);

/* A keyed 64-bit hash (SipHash-1-3) of bytes; the key is random per process, so no peer can choose
 * collisions. str_case_hash folds ASCII. */
uint64_t str_hash(struct str s);
uint64_t str_case_hash(struct str s);
/* Choose a new key (after fork). A table that was filled before keeps the key that it was filled with (map.h does), or is lost. */
void str_hash_reseed(void);
struct str_hash_key {
	uint64_t k[2];
};
struct str_hash_key str_hash_key(void);	/* the process' key now */
uint64_t str_hash_by(const struct str_hash_key *key, struct str s);

/* True when every byte is in 0x20..0x7e. */
bool str_printable(struct str s);

/* ASCII character classes: our own tables, not the locale's. */
static inline bool ch_digit(int c) { return c >= '0' && c <= '9'; }
static inline bool ch_upper(int c) { return c >= 'A' && c <= 'Z'; }
static inline bool ch_lower_p(int c) { return c >= 'a' && c <= 'z'; }
static inline bool ch_alpha(int c) { return ch_upper(c) || ch_lower_p(c); }
static inline bool ch_alnum(int c) { return ch_alpha(c) || ch_digit(c); }
static inline bool ch_blank(int c) { return c == ' ' || c == '\t'; }
static inline bool ch_space(int c) { return ch_blank(c) || c == '\r' || c == '\n'; }
static inline bool ch_ctl(int c) { return (unsigned char)c < 0x20 || c == 0x7f; }
static inline char ch_lower(char c) { return (char)(ch_upper(c) ? c + 32 : c); }
static inline char ch_up(char c) { return (char)(ch_lower_p(c) ? c - 32 : c); }
static inline int ch_xdigit(int c)	/* value of a hex digit, or -1 */
{
	return ch_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

#endif
