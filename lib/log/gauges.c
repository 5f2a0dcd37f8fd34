/* Numbers of now, in a page of their own: the counters' has another writer. */
#include "log/gauges.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"

/* Changes with the rows: a page of other rows is begun anew. */
static const char layout[] = "postern gauges 1: "
#define GAUGE(name, what) #name " "
#include "log/gauges.def"
#undef GAUGE
	;

struct page {
	char layout[sizeof(layout)];
	int64_t at;
	uint64_t values[GA_MAX_];
};

struct gauges {
	struct page *page;
};

static const struct {
	const char *name, *what;
} rows[] = {
#define GAUGE(name, what) { #name, what },
#include "log/gauges.def"
#undef GAUGE
};

const char *gauge_name(enum gauge g)
{
	return rows[g].name;
}

const char *gauge_what(enum gauge g)
{
	return rows[g].what;
}

int gauges_open(const char *run_directory, bool write, struct gauges **out, struct err *e)
{
	char path[PATH_MAX];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/log/gauges", run_directory);
	const int fd = open(path, (write ? O_RDWR | O_CREAT : O_RDONLY) | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC, 0644);

	if (fd < 0)
		return err_set(e, errno == ENOENT ? ERR_NOENT : ERR_TEMP, errno, "%s", path);
	struct page *p = MAP_FAILED;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    (st.st_size == sizeof(*p) || (write && fchmod(fd, 0644) == 0 && ftruncate(fd, sizeof(*p)) == 0)))
		p = mmap(NULL, sizeof(*p), PROT_READ | (write ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
	close(fd);
	if (p == MAP_FAILED)
		return err_set(e, ERR_TEMP, 0, "%s: not a page of gauges", path);
	if (write && memcmp(p->layout, layout, sizeof(layout)) != 0) {
		*p = (struct page){ 0 };
		memcpy(p->layout, layout, sizeof(layout));
	}
	*out = xzalloc(sizeof(**out));
	(*out)->page = p;
	return 0;
}

void gauges_set(struct gauges *g, const uint64_t values[GA_MAX_], int64_t now)
{
	for (size_t i = 0; i < GA_MAX_; i++)
		__atomic_store_n(&g->page->values[i], values[i], __ATOMIC_RELAXED);
	__atomic_store_n(&g->page->at, now, __ATOMIC_RELEASE);
}

int64_t gauges_get(const struct gauges *g, uint64_t values_out[GA_MAX_])
{
	if (memcmp(g->page->layout, layout, sizeof(layout)) != 0)
		return 0;
	const int64_t at = __atomic_load_n(&g->page->at, __ATOMIC_ACQUIRE);

	for (size_t i = 0; i < GA_MAX_; i++)
		values_out[i] = __atomic_load_n(&g->page->values[i], __ATOMIC_RELAXED);
	return at;
}
