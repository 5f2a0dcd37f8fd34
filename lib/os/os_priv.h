/* Shared inside lib/os: what proc_init kept of the environment before it cleared it. */
#ifndef OS_OS_PRIV_H
#define OS_OS_PRIV_H

#include <stddef.h>

struct proc_activation {
	size_t n_fds;		/* LISTEN_FDS, when LISTEN_PID is this process; else 0 */
	const char *names;	/* LISTEN_FDNAMES or "" */
};
struct proc_activation *proc_activation(void);

#endif
