/* Confinement: how a process gives up what it does not need, before it reads the first foreign byte. One call does all, in
 * this order: rlimits, not dumpable, Landlock rules (as root where no_new_privs must stay off), chroot, groups, gid, uid, check that root
 * cannot be regained, no_new_privs, seccomp, self-test (a forbidden act must be refused, else -1). Each role is a row
 * of confine_roles[] in confine.c: adding a role is adding a row; system call sets are named groups.
 */
#ifndef OS_CONFINE_H
#define OS_CONFINE_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/err.h"

enum confine_role {
	CONFINE_PARENT,		/* root parent of fronts: keeps SETUID SETGID SYS_CHROOT KILL, may accept, connect AF_UNIX, fork; no exec */
	CONFINE_TEMPLATE,	/* forks fronts; empty root */
	CONFINE_FRONT,		/* one connection: read, write, poll, recvmsg/sendmsg on what it has, memory, clock, exit */
	CONFINE_SESSION_IMAP,	/* the user: its mail tree (Landlock rw), threads, inotify, no network */
	CONFINE_SESSION_POP3,
	CONFINE_AUTH_MONITOR,	/* root; SETUID SETGID CHROOT KILL CHOWN DAC_READ_SEARCH; fork, exec of session programs */
	CONFINE_AUTH_SASL,	/* empty root, fork; its workers give that up (confine_no_processes) */
	CONFINE_AUTH_CHECK,	/* read-only system tree, no network, no exec */
	CONFINE_AUTH_KEY,	/* empty root */
	CONFINE_AUTH_MUX,	/* empty root, accepts on its listener */
	CONFINE_AUTH_GATHER,	/* read-only, NSS: may connect AF_UNIX (nscd, sssd) */
	CONFINE_QUEUE,		/* the spool (chroot) */
	CONFINE_RESOLVE,	/* maps read-only */
	CONFINE_PROGRAMS,	/* as spawn, for commands of aliases and .forward files: any program may be executed */
	CONFINE_SPAWN,		/* fork, exec of one file, no no_new_privs */
	CONFINE_DELIVER,	/* the user, one mail tree; set by deliver after its drop */
	CONFINE_REMOTE,		/* network out; no files */
	CONFINE_FILTER,		/* filterd monitor */
	CONFINE_DOORS,		/* forks those: reads the configuration */
	CONFINE_DOOR,		/* filterd's listeners: accept, files in memory */
	CONFINE_SCAN,		/* filterd worker: signatures read-only, private temp space */
	CONFINE_LOG,		/* log directory append */
	CONFINE_METRICS,	/* accepts on its listeners; no files */
	CONFINE_DNS,
	CONFINE_POLICY,		/* connections out; no files */
	CONFINE_STS,		/* connections out; its directory */
	CONFINE_IMPORT,		/* the user, one mail tree: what postern-import writes */
	CONFINE_REPORT,		/* filterd's user: DMARC data; connects to our own sockets (postern-dmarc) */
	CONFINE_MAX_
};

struct confine_path {
	const char *path;
	bool write;		/* read+write+create+rename+remove below it; else read only */
	bool exec;		/* may be executed */
};

struct confine {
	enum confine_role role;
	const char *user;		/* user name to become (its primary and supplementary groups are set); NULL: uid/gid below */
	uid_t uid;			/* when user is NULL; 0 with user NULL: identity is kept (already dropped, or root) */
	gid_t gid;
	const char *root;		/* chroot directory; NULL: none */
	const struct confine_path *paths;	/* Landlock rules, opened before chroot */
	size_t n_paths;
	bool unconfined;		/* the admin's explicit switch "--no-sandbox": only identity and root are changed; logged */
};

int confine_enter(const struct confine *c, struct err *e) MUST_CHECK;
/* For a worker of a confined zygote, whose uid it has: no process can be made, executed or signalled from here on. Cheap. */
int confine_no_processes(struct err *e) MUST_CHECK;
/* No further process or thread from this one (RLIMIT_NPROC 0; not for root). */
int confine_no_fork(struct err *e) MUST_CHECK;
/* A front after login narrows itself further (no new sockets' messages: read, write, poll, exit). */
int confine_narrow_relay(struct err *e) MUST_CHECK;
/* Look a user up (in /etc/passwd and /etc/group themselves, so that no name service module is loaded) and keep it, before chroot. */
int confine_user(const char *name, uid_t *uid_out, gid_t *gid_out, struct err *e) MUST_CHECK;
const char *confine_role_name(enum confine_role role);
/* Landlock ABI of this kernel; 0 none. */
int confine_landlock_abi(void);

#endif
