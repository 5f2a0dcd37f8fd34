/* A file that only grows, mapped for reading: mapped anew when something beyond the mapping is asked for. A file that is cut short reads as zeros
 * (guard.c); grow_hit() tells. */
#include <sys/mman.h>
#include <unistd.h>

#include "os/os.h"
#include "store/store_priv.h"

void grow_open(struct grow *g, int fd)
{
	*g = (struct grow){ .fd = fd };
}

static void unmap(struct grow *g)
{
	if (g->p == NULL)
		return;
	guard_del(g->p);
	munmap(g->p, g->n);
	g->p = NULL;
	g->n = 0;
}

void grow_close(struct grow *g)
{
	unmap(g);
	close_fd(&g->fd);
}

static bool map(struct grow *g)
{
	struct stat st;

	if (fstat(g->fd, &st) < 0 || st.st_size <= 0 || (uint64_t)st.st_size <= g->n)
		return false;
	unmap(g);
	void *const p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, g->fd, 0);
	if (p == MAP_FAILED)
		return false;
	g->p = p;
	g->n = (size_t)st.st_size;
	if (guard_add(p, g->n))
		return true;
	munmap(p, g->n);
	g->p = NULL;
	g->n = 0;
	return false;
}

const unsigned char *grow_at(struct grow *g, uint64_t off, size_t n)
{
	if (g->fd < 0 || off > SIZE_MAX / 2 || n > SIZE_MAX / 2)
		return NULL;
	if ((off + n > g->n && !map(g)) || off + n > g->n)
		return NULL;
	return g->p + off;
}

bool grow_hit(const struct grow *g)
{
	return g->p != NULL && guard_hit(g->p);
}
