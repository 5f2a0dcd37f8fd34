/* The bytes of the search index' files: their header and their records, found and written. What the records hold is search.c's.
 *
 *   postern.search     64 bytes header ("PSTNSRC1", mailbox id[16] at 8), then blocks: TRIGRAM_ROWS signatures of one class, by columns
 *   postern.searchlog  the same header, then batches of rows: signatures that are not in a block yet
 *   both are records, each at a multiple of 8, appended under a lock on postern.search that is never waited for:
 *     0 "PSRC"   4 what:8 (1 rows, 2 block) kind:8 class:8 zero:8   8 bytes:32   12 messages:32   16 zero   28 crc32c of mailbox id, these 28 bytes, the rest
 *     32 rows: (uid:32 kind:8 class:8 zero:16 bits…)…      block: uid:32… (to a multiple of 8), TRIGRAM_ROW_WORDS 64-bit words per bit of the class */
#include <fcntl.h>
#include <unistd.h>

#include "base/num.h"
#include "os/os.h"
#include "store/search_priv.h"

static const char file_magic[8] = "PSTNSRC1";
static const char record_magic[4] = "PSRC";

static void head_put(char p[SEARCH_HEAD], const uint8_t id[16])
{
	memset(p, 0, SEARCH_HEAD);
	memcpy(p, file_magic, sizeof(file_magic));
	memcpy(p + 8, id, 16);
}

bool search_head_ok(const struct mbox *m, int fd)
{
	char p[SEARCH_HEAD], want[SEARCH_HEAD];

	head_put(want, m->st.id);
	return pread(fd, p, sizeof(p), 0) == (ssize_t)sizeof(p) && memcmp(p, want, SEARCH_HEAD) == 0;
}

bool search_head_write(const struct mbox *m, int fd)
{
	char p[SEARCH_HEAD];

	head_put(p, m->st.id);
	return pwrite(fd, p, sizeof(p), 0) == (ssize_t)sizeof(p);
}

static uint32_t record_crc(const uint8_t id[16], const unsigned char *head, const void *payload, size_t n)
{
	return crc32c(crc32c(crc32c(0, id, 16), head, 28), payload, n);
}

/* The record at off, if one that verifies stands there. */
const unsigned char *search_record_at(struct grow *g, const uint8_t id[16], uint64_t off)
{
	const unsigned char *p = grow_at(g, off, SEARCH_RECORD_HEAD);

	if (p == NULL || memcmp(p, record_magic, sizeof(record_magic)) != 0)
		return NULL;
	const uint32_t bytes = get_le32(p + 8);
	if (bytes % 8 != 0 || (p = grow_at(g, off, SEARCH_RECORD_HEAD + (size_t)bytes)) == NULL || get_le32(p + 28) != record_crc(id, p, p + SEARCH_RECORD_HEAD, bytes))
		return NULL;
	return p;
}

void search_record_head(const struct mbox *m, unsigned char h[SEARCH_RECORD_HEAD], unsigned what, unsigned kind, unsigned class, uint32_t n, const void *payload, size_t bytes)
{
	memset(h, 0, SEARCH_RECORD_HEAD);
	memcpy(h, record_magic, sizeof(record_magic));
	h[4] = (unsigned char)what;
	h[5] = (unsigned char)kind;
	h[6] = (unsigned char)class;
	put_le32(h + 8, (uint32_t)bytes);
	put_le32(h + 12, n);
	put_le32(h + 28, record_crc(m->st.id, h, payload, bytes));
}

bool search_record_write(int fd, uint64_t off, const unsigned char h[SEARCH_RECORD_HEAD], const void *payload, size_t bytes)
{
	struct err e = { 0 };

	/* The head last: without it nothing is there. */
	return lseek(fd, (off_t)(off + SEARCH_RECORD_HEAD), SEEK_SET) >= 0 && write_all(fd, payload, bytes, &e) == 0 &&
	       pwrite(fd, h, SEARCH_RECORD_HEAD, (off_t)off) == (ssize_t)SEARCH_RECORD_HEAD;
}

uint64_t search_check(int dirfd, const uint8_t id[16], const char *name)
{
	struct grow g = { .fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK) };
	uint64_t off = SEARCH_HEAD, left;
	const unsigned char *p;
	char want[SEARCH_HEAD];
	struct stat st;

	if (g.fd < 0 || fstat(g.fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		grow_close(&g);
		return 0;
	}
	while ((p = search_record_at(&g, id, off)) != NULL)
		off += SEARCH_RECORD_HEAD + (uint64_t)get_le32(p + 8);
	left = (uint64_t)st.st_size > off ? (uint64_t)st.st_size - off : 0;
	head_put(want, id);
	if ((p = grow_at(&g, 0, SEARCH_HEAD)) == NULL || memcmp(p, want, SEARCH_HEAD) != 0)
		left = (uint64_t)st.st_size;
	grow_close(&g);
	return left;
}
