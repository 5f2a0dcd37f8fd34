/* Shared between confine.c (roles, order), seccomp.c (system call filter) and landlock.c (names in the file system). */
#ifndef OS_CONFINE_PRIV_H
#define OS_CONFINE_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "os/confine.h"

/* Groups of system calls: syscalls.def says which call is in which. */
enum call_group {
	BASE = 1 << 0,		/* work on what it holds: descriptors, memory, clock, itself */
	RELAY = 1 << 1,		/* less than BASE: move bytes between descriptors */
	LOCK_MEMORY = 1 << 2,
	MEM_EXEC = 1 << 3,	/* map executable memory: loading programs and plugins */
	ACCEPT = 1 << 4,
	UNIX_CONNECT = 1 << 5,
	NET_OUT = 1 << 6,
	FS_READ = 1 << 7,	/* open read-only, list, stat */
	FS_WRITE = 1 << 8,	/* open for writing, create, rename, remove, sync */
	FS_LINK = 1 << 9,
	FS_OWN = 1 << 10,
	FD_WRITE = 1 << 11,	/* sync and truncate descriptors it was given */
	INOTIFY = 1 << 12,
	FORK = 1 << 13,
	THREADS = 1 << 14,
	EXEC = 1 << 15,
	KILL = 1 << 16,
	SETID = 1 << 17,
	CONFINE = 1 << 18,	/* narrow itself (or a child itself) further */
	NEVER = 1 << 19,
	MEMFILE = 1 << 21,	/* make files in memory */
	NET_SOURCE = 1 << 20,	/* choose the address that connections leave from (bind without listen) */
};

/* Build the filter that allows groups and kills on kill_groups, and install it. The caller has no_new_privs or CAP_SYS_ADMIN. */
int seccomp_enter(uint32_t groups, uint32_t kill_groups, struct err *e) MUST_CHECK;
/* A filter below ours in force: the calls of these groups are refused from here on, whatever other group they are in. At most 200 calls. */
int seccomp_refuse(uint32_t groups, struct err *e) MUST_CHECK;
/* Likewise: only the calls of these groups are left, with the arguments that the filter in force allows. */
int seccomp_only(uint32_t groups, struct err *e) MUST_CHECK;
/* 0 when a filter of ours answers (a harmless call gets an errno that no kernel gives). */
int seccomp_check(struct err *e) MUST_CHECK;

enum landlock_scope {
	LANDLOCK_ALL,		/* every access to the file system that is not listed is refused */
	LANDLOCK_EXEC_ONLY,	/* only execution is restricted to the listed files */
	LANDLOCK_NONE,
};
/* Make the rule set: opens the paths. *fd_out is owned by the caller, -1 when there is nothing to restrict. */
int landlock_prepare(enum landlock_scope scope, uint32_t groups, const struct confine_path *paths, size_t n, int *fd_out, struct err *e) MUST_CHECK;
/* Enter it and close fd (-1: nothing). The caller has no_new_privs or CAP_SYS_ADMIN. */
int landlock_enter(int *fd, struct err *e) MUST_CHECK;

#endif
