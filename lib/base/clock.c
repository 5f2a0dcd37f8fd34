/* Clocks and random bytes from the kernel. */
#include "base/clock.h"

#include <errno.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_us(clockid_t id)
{
	struct timespec t = { 0 };
	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t clock_mono_us(void)
{
	return now_us(CLOCK_MONOTONIC);
}

uint64_t clock_mono_ms(void)
{
	return now_us(CLOCK_MONOTONIC) / 1000;
}

uint64_t clock_thread_us(void)
{
	return now_us(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t clock_wall_us(void)
{
	return now_us(CLOCK_REALTIME);
}

int64_t clock_wall(void)
{
	return (int64_t)(now_us(CLOCK_REALTIME) / 1000000);
}

void random_bytes(void *p, unsigned n)
{
	unsigned char *at = p;
	while (n > 0) {
		ssize_t got = getrandom(at, n, 0);
		if (got < 0 && errno != EINTR)
			_exit(71);
		if (got > 0) {
			at += got;
			n -= (unsigned)got;
		}
	}
}

uint64_t random_u64(void)
{
	uint64_t v;
	random_bytes(&v, sizeof(v));
	return v;
}

/* Steele and others' SplitMix64, from a random start. The clock is added for processes that were forked: they go on from the same place. */
uint64_t unique_u64(void)
{
	static uint64_t at;
	struct timespec t = { 0 };

	if (at == 0)
		at = random_u64();
	clock_gettime(CLOCK_MONOTONIC, &t);
	at += UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)t.tv_nsec;
	uint64_t z = at;
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}
