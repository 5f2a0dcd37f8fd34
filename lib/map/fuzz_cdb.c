/* Any bytes as a cdb file: every lookup and the walk end. The first byte says how long a key is taken from the end. */
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "map/cdbfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int stop_late(void *ctx, struct str key, struct str value)
{
	return ++*(unsigned *)ctx > 100;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cdbfile *c = NULL;
	struct err e = { 0 };
	struct buf out;
	unsigned n = 0;
	const int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0 || size < 2)
		goto done;
	const size_t key_n = data[0] % (size - 1);

	if (write(fd, data + 1, size - 1) != (ssize_t)size - 1)
		goto done;
	if (cdbfile_open_fd(fd, &c, &e) < 0)
		return 0;	/* it has taken fd */
	buf_init(&out, 65536);
	(void)!cdbfile_get(c, str_n(data + size - key_n, key_n), 4096, &out, &e);
	buf_reset(&out);
	(void)!cdbfile_get(c, STR("joe"), 4096, &out, &e);
	(void)!cdbfile_each(c, stop_late, &n, &e);
	buf_fini(&out);
	cdbfile_close(&c);
	return 0;
done:
	if (fd >= 0)
		close(fd);
	return 0;
}
