/* The file of keys: where its sections are, mapping it, and making sure of them (keys_priv.h says the layout). */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/num.h"
#include "os/os.h"
#include "store/index.h"
#include "store/keys_priv.h"
#include "store/summary.h"

enum {
	PIECE = 1 << 20,		/* bytes that are verified at once */
	BITS_MAX = 31,
};

static size_t padded(size_t n)
{
	return (n + 7) & ~(size_t)7;
}

void keys_sizes(const struct keys_counts *c, size_t bytes[KEYS_SECTIONS])
{
	for (unsigned s = 0; s < KEYS_ID; s++)
		bytes[s] = (size_t)c->rows * (s == KEYS_SENT ? 8 : 4);
	bytes[KEYS_ID] = (size_t)c->rows * 4;
	bytes[KEYS_REF_AT] = ((size_t)c->rows + 1) * 4;
	bytes[KEYS_REFS] = (size_t)c->refs * 4;
	bytes[KEYS_IDS] = ((size_t)c->ids + 1) * 8;
	bytes[KEYS_SLOTS] = ((size_t)1 << c->bits) * 4;
	bytes[KEYS_SUBJECTS] = ((size_t)c->texts[MBOX_KEY_SUBJECT] + 1) * 4;
}

static struct keys_counts counts_of(const unsigned char *p)
{
	struct keys_counts c = { .rows = get_le32(p + 36), .ids = get_le32(p + 40), .bits = get_le32(p + 44), .refs = get_le32(p + 48) };

	for (unsigned k = 0; k < MBOX_KEYS; k++)
		c.texts[k] = get_le32(p + 52 + 4 * k);
	return c;
}

static bool head_ok(const unsigned char *p, const struct mbox *m)
{
	return memcmp(p, keys_magic, 8) == 0 && get_le32(p + 8) == KEYS_VERSION && get_le32(p + 12) == SUMMARY_VERSION && memcmp(p + 16, m->st.id, 16) == 0 &&
	       get_le32(p + 32) == m->st.uidvalidity && get_le32(p + 252) == crc32c(0, p, 252) && get_le32(p + 40) <= IDS_MAX && get_le32(p + 44) <= BITS_MAX;
}

/* Sections where they should be; false: the file is of another length. */
static bool lay_out(struct keys_file *f)
{
	size_t at = KEYS_HEAD;

	f->has = counts_of(f->p);
	keys_sizes(&f->has, f->bytes);
	for (unsigned s = 0; s < KEYS_SECTIONS; s++) {
		f->at[s] = f->p + at;
		at += padded(f->bytes[s]);
		if (at > f->n)
			return false;
	}
	f->ids = (struct ids){ .v = (uint64_t *)(void *)(f->p + (f->at[KEYS_IDS] - f->p)), .slots = (uint32_t *)(void *)(f->p + (f->at[KEYS_SLOTS] - f->p)),
		.bits = f->has.bits, .n = f->has.ids, .add = get_le64(f->p + 80), .times = get_le64(f->p + 88) };
	return at == f->n;
}

bool keys_file_open(struct keys_file *f, struct mbox *m)
{
	struct stat sb;
	unsigned char *p;

	*f = (struct keys_file){ 0 };
	CLEANUP_FD int fd = openat(m->dirfd, KEYS_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (!index_host_fits || fd < 0 || fstat(fd, &sb) < 0 || !S_ISREG(sb.st_mode) || sb.st_uid != geteuid() || sb.st_size < KEYS_HEAD ||
	    sb.st_size > INT64_C(1) << 36 || (p = file_map(fd, (size_t)sb.st_size)) == NULL)
		return false;
	f->p = p;
	f->n = (size_t)sb.st_size;
	if (head_ok(p, m) && lay_out(f))
		return true;
	keys_file_close(f);
	return false;
}

void keys_file_close(struct keys_file *f)
{
	if (f->p) {
		guard_del(f->p);
		munmap(f->p, f->n);
	}
	*f = (struct keys_file){ 0 };
}

int keys_file_verify(struct keys_file *f, unsigned sections)
{
	const unsigned left = sections & ~f->verified;
	enum keys_section s = f->verifying;

	if (left == 0)
		return guard_hit(f->p) ? -1 : 0;
	if (f->verified_to == 0)
		for (s = 0; !(left >> s & 1); s++)
			;
	const size_t rest = f->bytes[s] - f->verified_to, n = rest < PIECE ? rest : PIECE;
	f->verifying = s;
	f->crc = crc32c(f->verified_to ? f->crc : 0, f->at[s] + f->verified_to, n);
	f->verified_to += n;
	if (n < rest)
		return 1;
	f->verified_to = 0;
	f->verified |= 1U << s;
	return f->crc == get_le32(f->p + 96 + 4 * s) && !guard_hit(f->p) ? 1 : -1;
}
