/* Reading what was learned, and the verdict of a message's words: Robinson's estimate for each word, those far from the middle combined by Fisher's method in both
 * directions (bayes.h). The file is a cdb mapped read-only: every offset is checked against its size, and it is only ever replaced. */
#include "spam/bayes.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/num.h"
#include "os/os.h"

/* Chosen by cross-validation within the training half of the public corpus (t/bench/accuracy -v): the messages of ham, all missing
 * beside as much spam, in which any word may be; the strength and the value of what was never seen; how far from the middle a word must be to count; and which part
 * of a message's words says something that the others do not say already. */
static const double unlearned_ham = 0.2, prior_strength = 0.01, prior_value = 0.5, deviation_min = 0.35, independent = 0.1;

enum { COUNTS_SIZE = 12, HEAD_SIZE = 2048 };

struct bayes {
	char path[1024];
	const unsigned char *map;
	size_t size;
	dev_t dev;
	ino_t ino;
	struct timespec changed;	/* an inode may serve again */
	bool damaged;
	struct bayes_counts messages;
};

/* --- the file --- */

static uint32_t cdb_hash(const unsigned char *key, size_t n)
{
	uint32_t h = 5381;
	for (size_t i = 0; i < n; i++)
		h = ((h << 5) + h) ^ key[i];
	return h;
}

/* The value of key, 0 or 1 found. */
static bool cdb_find(const struct bayes *b, const void *key, size_t key_n, const unsigned char **value, size_t *value_n)
{
	uint32_t h = cdb_hash(key, key_n);
	if (b->size < HEAD_SIZE)
		return false;
	const unsigned char *slot = b->map + (h & 255) * 8;
	uint64_t table = get_le32(slot), slots = get_le32(slot + 4);
	if (slots == 0 || table > b->size || slots > (b->size - table) / 8)
		return false;
	for (uint64_t i = 0, at = (h >> 8) % slots; i < slots; i++, at = at + 1 == slots ? 0 : at + 1) {
		const unsigned char *p = b->map + table + at * 8;
		uint64_t record = get_le32(p + 4);
		if (record == 0)
			return false;
		if (get_le32(p) != h || record > b->size - 8)
			continue;
		uint64_t klen = get_le32(b->map + record), vlen = get_le32(b->map + record + 4);
		if (klen != key_n || record + 8 + klen + vlen > b->size || memcmp(b->map + record + 8, key, key_n) != 0)
			continue;
		*value = b->map + record + 8 + klen;
		*value_n = (size_t)vlen;
		return true;
	}
	return false;
}

static bool counts_at(const struct bayes *b, const void *key, size_t n, struct bayes_counts *out)
{
	const unsigned char *v;
	size_t vn;
	if (!cdb_find(b, key, n, &v, &vn) || vn != COUNTS_SIZE)
		return false;
	*out = (struct bayes_counts){ get_le32(v), get_le32(v + 4), get_le32(v + 8) };
	return true;
}

static void unmap(struct bayes *b)
{
	void *p = NULL;
	memcpy(&p, &b->map, sizeof(p));
	if (p != NULL)
		munmap(p, b->size);
	b->map = NULL;
	b->size = 0;
	b->messages = (struct bayes_counts){ 0 };
}

static bool same(const struct bayes *b, const struct stat *st)
{
	return st->st_dev == b->dev && st->st_ino == b->ino && st->st_ctim.tv_sec == b->changed.tv_sec && st->st_ctim.tv_nsec == b->changed.tv_nsec;
}

static void map(struct bayes *b)
{
	struct stat st;
	int fd = open(b->path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && fstat(fd, &st) == 0) {
		b->dev = st.st_dev;
		b->ino = st.st_ino;
		b->changed = st.st_ctim;
		void *p = S_ISREG(st.st_mode) && st.st_size >= HEAD_SIZE && st.st_size <= UINT32_MAX ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0) :
												   MAP_FAILED;
		b->map = p == MAP_FAILED ? NULL : p;
		b->size = p == MAP_FAILED ? 0 : (size_t)st.st_size;
	}
	close_fd(&fd);
}

void bayes_refresh(struct bayes *b)
{
	struct stat st;
	if (stat(b->path, &st) < 0) {
		unmap(b);
		b->damaged = errno != ENOENT;
		return;
	}
	if ((b->map != NULL || b->damaged) && same(b, &st))
		return;
	unmap(b);
	map(b);
	b->damaged = b->map == NULL || !counts_at(b, "messages", sizeof("messages"), &b->messages);
	if (b->damaged)
		unmap(b);
}

bool bayes_damaged(const struct bayes *b)
{
	return b->damaged;
}

struct bayes *bayes_new(const char *path)
{
	struct bayes *b = xzalloc(sizeof(*b));
	snprintf(b->path, sizeof(b->path), "%s", path);
	bayes_refresh(b);
	return b;
}

void bayes_free(struct bayes **b)
{
	if (*b == NULL)
		return;
	unmap(*b);
	free(*b);
	*b = NULL;
}

struct bayes_counts bayes_messages(const struct bayes *b)
{
	return b->messages;
}

bool bayes_get(const struct bayes *b, uint64_t token, struct bayes_counts *out)
{
	unsigned char key[8];
	put_le64(key, token);
	return counts_at(b, key, sizeof(key), out);
}

enum bayes_class bayes_seen(const struct bayes *b, const unsigned char digest[BAYES_DIGEST])
{
	const unsigned char *v;
	size_t n;
	return cdb_find(b, digest, BAYES_DIGEST, &v, &n) && n > 0 && v[0] <= BAYES_HAM ? (enum bayes_class)v[0] : BAYES_NONE;
}

/* --- the verdict --- */

static double estimate(const struct bayes *b, const struct bayes_counts *c)
{
	const double n_spam = b->messages.spam, n_ham = b->messages.ham, n = (double)c->spam + c->ham;
	/* Of a word that was only in spam little is known while little ham was learned. The other case, little spam, costs nobody mail. */
	const double lack = n_ham < n_spam ? 1 - n_ham / n_spam : 0;
	const double s = (double)c->spam / n_spam, h = ((double)c->ham + unlearned_ham * lack) / n_ham;
	double p = s + h > 0 ? s / (s + h) : prior_value;
	return (prior_strength * prior_value + n * p) / (prior_strength + n);
}

/* The chance that a chi-square of 2n degrees is at least x (as minus twice a sum of logarithms). */
static double chi_square(double x, size_t n)
{
	double half = x / 2, term = exp(-half), sum = term;
	if (half > 700)
		return 0;
	for (size_t i = 1; i < n; i++) {
		term *= half / (double)i;
		sum += term;
	}
	return sum > 1 ? 1 : sum;
}

double bayes_combine(const struct bayes *b, const uint64_t *tokens, size_t n)
{
	size_t used = 0;
	double spam = 0, ham = 0;
	for (size_t i = 0; i < n; i++) {
		struct bayes_counts c;
		if (!bayes_get(b, tokens[i], &c) || (c.spam == 0 && c.ham == 0))
			continue;
		const double p = estimate(b, &c);
		if (fabs(p - prior_value) < deviation_min)
			continue;
		spam += log(1 - p);
		ham += log(p);
		used++;
	}
	if (used == 0)
		return prior_value;
	const size_t degrees = (size_t)((double)used * independent) + 1;
	return (1 + chi_square(-2 * ham * independent, degrees) - chi_square(-2 * spam * independent, degrees)) / 2;
}

double bayes_score(struct msg *m)
{
	const struct set *s = m->s;
	if (m->bayes_made)
		return m->bayes;
	m->bayes_made = true;
	if (s->bayes == NULL || s->num[SPAM_NUM_USE_BAYES] <= 0)
		return m->bayes;
	bayes_refresh(s->bayes);
	struct bayes_counts all = bayes_messages(s->bayes);
	if (all.spam < s->num[SPAM_NUM_BAYES_MIN_SPAM] || all.ham < s->num[SPAM_NUM_BAYES_MIN_HAM] || all.spam == 0 || all.ham == 0)
		return m->bayes;
	uint64_t *tokens;
	size_t n = bayes_tokens(m, &tokens);
	m->bayes = bayes_combine(s->bayes, tokens, n);
	return m->bayes;
}
