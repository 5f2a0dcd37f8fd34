/* Mapped files that shrink under us. Our own index is only ever replaced by rename, but a mailbox is the user's, and a file cut short by any program would
 * end the session with SIGBUS. The handler puts a page of zeros where the file has ended and remembers it; whoever uses the mapping asks
 * guard_hit() and builds anew what it held. A SIGBUS anywhere else keeps its usual effect. */
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "store/store_priv.h"

enum { REGIONS_MAX = 1024 };

static struct region {
	_Atomic(char *) p;
	_Atomic(size_t) n;
	atomic_bool hit;
} regions[REGIONS_MAX];
static struct sigaction before;

static void on_sigbus(int signo, siginfo_t *info, void *context)
{
	char *const at = info->si_addr;
	const size_t page = 4096;	/* the smallest of any machine: a multiple of it is not needed, the kernel rounds the length up */

	for (size_t i = 0; i < REGIONS_MAX; i++) {
		char *const p = regions[i].p;
		if (p == NULL || at < p || at >= p + regions[i].n)
			continue;
		char *const start = (char *)((uintptr_t)at & ~(uintptr_t)(page - 1));
		if (mmap(start, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
			break;
		regions[i].hit = true;
		return;
	}
	/* Not ours: as it was. The faulting instruction runs again and takes the old disposition. */
	sigaction(signo, &before, NULL);
}

bool guard_add(void *p, size_t n)
{
	static bool installed;

	if (!installed) {
		struct sigaction sa = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_RESTART };
		sigemptyset(&sa.sa_mask);
		installed = sigaction(SIGBUS, &sa, &before) == 0;
	}
	for (size_t i = 0; i < REGIONS_MAX; i++) {
		if (regions[i].p != NULL)
			continue;
		regions[i].n = n;
		regions[i].hit = false;
		regions[i].p = p;
		return installed;
	}
	return false;
}

void guard_del(void *p)
{
	for (size_t i = 0; i < REGIONS_MAX; i++)
		if (regions[i].p == p)
			regions[i].p = NULL;
}

bool guard_hit(void *p)
{
	for (size_t i = 0; i < REGIONS_MAX; i++)
		if (regions[i].p == p)
			return regions[i].hit;
	return false;
}
