/* See grey.h. The file: a line for each time that somebody was known, "SECONDS KEY", the later one counts; KEY is the hash of an entry's kind and names in
 * hexadecimal. */
#include "grey.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/enc.h"
#include "base/ip.h"
#include "base/map.h"
#include "base/num.h"
#include "base/sha256.h"
#include "os/os.h"

enum { KEY_BYTES = 16, LINE_BYTES = 64 };

struct entry {
	int64_t first, last;
	int64_t kept;	/* last as the file has it */
	bool known;	/* it came back, or one of ours wrote there */
};

struct grey {
	struct map *entries;
	uint64_t delay_s, lifetime_s;
	char path[1200];
	bool loaded;	/* before that the file is not replaced: it may hold more than memory does */
	int fd;		/* of the file, to append; -1: none */
	uint64_t bytes;
	struct err trouble;	/* why somebody who is known is not in the file */
	int64_t tried;		/* then: when it was written last, in vain */
};

/* Of names that who writes chooses; so many bytes fall together by no effort that anybody has. */
struct key { unsigned char v[32]; };

static struct str key_view(const struct key *k)
{
	return str_n((const char *)k->v, KEY_BYTES);
}

struct grey *grey_new(uint64_t delay_s, uint64_t lifetime_s)
{
	struct grey *g = xzalloc(sizeof(*g));
	g->entries = map_new();
	g->fd = -1;
	grey_times(g, delay_s, lifetime_s);
	return g;
}

void grey_times(struct grey *g, uint64_t delay_s, uint64_t lifetime_s)
{
	g->delay_s = delay_s;
	g->lifetime_s = lifetime_s;
}

static void forget_all(struct grey *g)
{
	struct str key;
	void *value;
	for (size_t it = 0; map_next(g->entries, &it, &key, &value);)
		free(value);
	map_free(&g->entries);
}

void grey_free(struct grey **g)
{
	if (*g == NULL)
		return;
	forget_all(*g);
	close_fd(&(*g)->fd);
	free(*g);
	*g = NULL;
}

size_t grey_count(const struct grey *g)
{
	return map_count(g->entries);
}

static bool is_over(const struct grey *g, const struct entry *x, int64_t now)
{
	return now - x->last > (int64_t)(x->known ? g->lifetime_s : (uint64_t)GREY_RETRY_S);
}

static int by_time(const void *a, const void *b)
{
	const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

/* The time before which a third of the entries were seen last. */
static int64_t oldest_third(const struct grey *g)
{
	int64_t *v = xmalloc((map_count(g->entries) + 1) * sizeof(*v));
	size_t n = 0;
	struct str key;
	void *value;
	for (size_t it = 0; map_next(g->entries, &it, &key, &value);)
		v[n++] = ((struct entry *)value)->last;
	qsort(v, n, sizeof(*v), by_time);
	const int64_t at = n == 0 ? 0 : v[n / 3];
	free(v);
	return at;
}

/* Into a new map: one must not change while it is walked. */
static void make_room(struct grey *g, int64_t now)
{
	const int64_t before = oldest_third(g);
	struct map *kept = map_new();
	struct str key;
	void *value;
	for (size_t it = 0; map_next(g->entries, &it, &key, &value);) {
		const struct entry *x = value;
		if (is_over(g, x, now) || x->last <= before)
			free(value);
		else
			(void)map_set(kept, key, value);
	}
	map_free(&g->entries);
	g->entries = kept;
}

static struct entry *entry_of(struct grey *g, struct str key, int64_t now)
{
	struct entry *x = map_get(g->entries, key);
	if (x != NULL && (is_over(g, x, now) || (!x->known && x->first > now)))	/* by a clock that went back he would wait until it is there again */
		*x = (struct entry){ .first = now };
	if (x == NULL) {
		if (map_count(g->entries) >= GREY_ENTRIES_MAX)
			make_room(g, now);
		x = xzalloc(sizeof(*x));
		x->first = now;
		(void)map_set(g->entries, key, x);
	}
	return x;
}

/* A time of the future stays: the clock may be about to be set, and then counts what the file said. */
static void seen(struct entry *x, int64_t now)
{
	x->last = now > x->last ? now : x->last;
}

/* --- the file --- */

static void put_line(struct buf *b, struct str key, const struct entry *x)
{
	buf_printf(b, "%lld ", (long long)x->last);
	hex_encode(b, key);
	buf_ch(b, '\n');
}

static int take_line(struct grey *g, struct str line, int64_t now)
{
	uint64_t last;
	struct buf key;
	const struct str seconds = str_split(&line, ' ');
	buf_init(&key, KEY_BYTES + 1);
	int r = line.p == NULL || line.n != 2 * KEY_BYTES || num_parse(seconds, 1, INT64_MAX / 2, &last) < 0 ? -1 : hex_decode(&key, line);
	if (r == 0 && now - (int64_t)last <= (int64_t)g->lifetime_s) {
		struct entry *x = entry_of(g, buf_view(&key), now);
		if (!x->known || x->last < (int64_t)last)
			*x = (struct entry){ .first = (int64_t)last, .last = (int64_t)last, .kept = (int64_t)last, .known = true };
	}
	buf_fini(&key);
	return r;
}

static int load(struct grey *g, int64_t now, size_t *bad, struct err *e)
{
	struct buf text;
	struct stat st;
	if (stat(g->path, &st) < 0 && errno == ENOENT)
		return 0;
	buf_init(&text, GREY_FILE_MAX + LINE_BYTES);
	const int r = file_read(g->path, GREY_FILE_MAX + LINE_BYTES, &text, e);
	for (struct str rest = buf_view(&text); r == 0 && rest.n > 0;)
		*bad += take_line(g, str_split(&rest, '\n'), now) < 0;
	buf_fini(&text);
	return r;
}

static bool is_of_the_file(const struct grey *g, const struct entry *x, int64_t now)
{
	return x->known && !is_over(g, x, now);
}

/* Who is known now, each once, in place of the file: that stays as it is when this fails. */
static int replace_file(struct grey *g, int64_t now, struct err *e)
{
	struct buf b;
	struct str key;
	void *value;
	buf_init(&b, (size_t)GREY_ENTRIES_MAX * LINE_BYTES);
	for (size_t it = 0; map_next(g->entries, &it, &key, &value);)
		if (is_of_the_file(g, value, now))
			put_line(&b, key, value);
	const uint64_t bytes = b.n;
	const int r = file_replace(g->path, buf_view(&b), 0600, (uid_t)-1, (gid_t)-1, e);
	buf_fini(&b);
	if (r < 0)
		return -1;
	g->bytes = bytes;
	close_fd(&g->fd);
	g->fd = open(g->path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
	return g->fd < 0 ? err_set(e, ERR_TEMP, errno, "%s", g->path) : 0;
}

static int write_anew(struct grey *g, int64_t now)
{
	struct err e = { 0 };
	struct str key;
	void *value;
	const int r = replace_file(g, now, &e);
	g->tried = now;
	g->trouble = e;
	for (size_t it = 0; r == 0 && map_next(g->entries, &it, &key, &value);) {
		struct entry *x = value;
		if (is_of_the_file(g, x, now))
			x->kept = x->last;
	}
	return r;
}

int grey_keep(struct grey *g, const char *path, int64_t now, size_t *bad_out)
{
	snprintf(g->path, sizeof(g->path), "%s", path);
	*bad_out = 0;
	g->loaded = g->loaded || load(g, now, bad_out, &g->trouble) == 0;
	return g->loaded ? write_anew(g, now) : -1;
}

const char *grey_trouble(const struct grey *g)
{
	return g->trouble.code == ERR_NONE ? NULL : g->trouble.text;
}

/* Half a line would make nonsense of the next one. */
static int append(struct grey *g, struct str line, struct err *e)
{
	const ssize_t n = write(g->fd, line.p, line.n);
	if (n == (ssize_t)line.n) {
		g->bytes += line.n;
		return 0;
	}
	const int why = n < 0 ? errno : ENOSPC;
	if (n > 0 && ftruncate(g->fd, (off_t)g->bytes) < 0)
		return err_set(e, ERR_TEMP, errno, "%s: half a line stays", g->path);
	return err_set(e, ERR_TEMP, why, "%s", g->path);
}

static bool may_try(const struct grey *g, int64_t now)
{
	return now < g->tried || now - g->tried >= GREY_AGAIN_S;
}

static bool is_lately_kept(const struct grey *g, const struct entry *x)
{
	const uint64_t again = g->lifetime_s / 2 < GREY_KEEP_S ? g->lifetime_s / 2 : GREY_KEEP_S;
	return x->kept != 0 && x->last - x->kept < (int64_t)again;
}

/* He was seen: into the file, if that has it not, or not lately. After a failure all who lack there, by whoever is seen next. */
static void keep(struct grey *g, struct str key, struct entry *x, int64_t now)
{
	struct buf b;
	if (g->trouble.code != ERR_NONE) {
		if (g->loaded && may_try(g, now))
			(void)write_anew(g, now);
		return;
	}
	if (g->fd < 0 || !x->known || is_lately_kept(g, x))
		return;
	buf_init(&b, LINE_BYTES);
	put_line(&b, key, x);
	if (append(g, buf_view(&b), &g->trouble) == 0)
		x->kept = x->last;
	else
		g->tried = now;
	buf_fini(&b);
	if (g->trouble.code == ERR_NONE && g->bytes > GREY_FILE_MAX)
		(void)write_anew(g, now);
}

/* --- questions --- */

static void add_folded(struct sha256 *h, struct str s)
{
	char part[256];
	size_t n = 0;
	for (size_t i = 0; i < s.n; i++) {
		part[n++] = (char)ch_lower(s.p[i]);
		if (n == sizeof(part)) {
			sha256_add(h, str_n(part, n));
			n = 0;
		}
	}
	part[n++] = '\0';
	sha256_add(h, str_n(part, n));
}

/* kind: 'w' one of ours (b) wrote to a; 'g' a, from a client of that network, wrote to b. */
static struct key key_of(char kind, struct str network, struct str a, struct str b)
{
	struct sha256 h;
	struct key k;
	sha256_init(&h);
	sha256_add(&h, str_n(&kind, 1));
	sha256_add(&h, network);
	add_folded(&h, a);
	add_folded(&h, b);
	sha256_end(&h, k.v);
	return k;
}

void grey_wrote(struct grey *g, struct str ours, struct str to, int64_t now)
{
	if (ours.n == 0 || to.n == 0)
		return;
	const struct key k = key_of('w', STR(""), to, ours);
	struct entry *x = entry_of(g, key_view(&k), now);
	x->known = true;
	seen(x, now);
	keep(g, key_view(&k), x, now);
}

static bool has_written(struct grey *g, struct str sender, struct str recipient, int64_t now)
{
	const struct key k = key_of('w', STR(""), sender, recipient);
	const struct entry *x = map_get(g->entries, key_view(&k));
	return x != NULL && x->known && !is_over(g, x, now);
}

uint64_t grey_ask(struct grey *g, const uint8_t client[16], struct str sender, const struct str *vouched, size_t n_vouched, struct str recipient, int64_t now)
{
	for (size_t i = 0; i < n_vouched; i++)
		if (has_written(g, vouched[i], recipient, now))
			return 0;
	const struct str network = str_n((const char *)client, ip_is_v4(client) ? 15 : 8);	/* its /24, its /64: large senders try again from a neighbour */
	const struct key k = key_of('g', network, sender, recipient);
	struct entry *x = entry_of(g, key_view(&k), now);
	const uint64_t age = now > x->first ? (uint64_t)(now - x->first) : 0;
	x->known |= age >= g->delay_s;
	seen(x, now);
	keep(g, key_view(&k), x, now);
	return x->known ? 0 : g->delay_s - age;
}
