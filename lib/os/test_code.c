/* Code that a parent has run needs no fault in its children, and is the code that it was. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"
#include "test/tap.h"

enum { CODE = 1 << 20, PAGE = 4096, CLEAN = 4 };

/* Something mapped as code is: private, from a file, executable. */
static unsigned char *code(void)
{
	char path[] = "/tmp/test_code.XXXXXX";
	static unsigned char page[PAGE];
	const int fd = mkstemp(path);
	void *p;

	if (fd < 0 || unlink(path) < 0)
		return NULL;
	for (unsigned i = 0; i < CODE / PAGE; i++) {
		memset(page, (int)(i & 0xff), sizeof(page));
		if (write(fd, page, sizeof(page)) != PAGE)
			return NULL;
	}
	p = mmap(NULL, CODE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	close(fd);
	return p == MAP_FAILED ? NULL : p;
}

/* false: some byte is another one. */
static bool run_through(const volatile unsigned char *p)
{
	bool same = true;

	for (unsigned i = 0; i < CODE / PAGE; i++)
		same = same && p[i * PAGE] == (i & 0xff) && p[i * PAGE + PAGE - 1] == (i & 0xff);
	return same;
}

/* Faults of a child that runs all of it; -1: it is another code. */
static long faults(const unsigned char *p)
{
	int status = 0;
	const pid_t pid = fork();

	if (pid == 0) {
		struct rusage a, b;
		(void)getrusage(RUSAGE_SELF, &a);
		const bool same = run_through(p);
		(void)getrusage(RUSAGE_SELF, &b);
		const long n = b.ru_minflt - a.ru_minflt;
		_exit(!same ? 255 : n < 254 ? (int)n : 254);
	}
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) != 255 ? WEXITSTATUS(status) : -1;
}

int main(void)
{
	unsigned char *p = code();

	if (p == NULL || access("/proc/self/mem", R_OK | W_OK) < 0) {
		tap_ok(true, "# SKIP no code can be mapped from /tmp, or no /proc");
		return tap_done();
	}
	tap_ok(run_through(p), "the code as it is in the file");
	const long before = faults(p);
	proc_code_forked();
	const long after = faults(p);
	tap_ok(before > CLEAN, "a child finds it piece by piece (%ld faults)", before);
	tap_ok(after >= 0 && after <= CLEAN, "and then has it from its parent (%ld faults)", after);
	tap_ok(run_through(p), "it is the same code");
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[4400];
	bool writable = false;
	while (maps && fgets(line, sizeof(line), maps))
		writable = writable || strstr(line, " rwxp ");
	if (maps)
		fclose(maps);
	tap_ok(maps && !writable, "no code can be written to");
	return tap_done();
}
