/* Files, sockets and processes, done once and safely. */
#ifndef OS_OS_H
#define OS_OS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* --- files --- */
/* Whole content, at most max bytes (ERR_TOOBIG). */
/* out is emptied first, also on failure. Regular files only. */
int file_read(const char *path, size_t max, struct buf *out, struct err *e) MUST_CHECK;
int file_read_at(int dirfd, const char *name, size_t max, struct buf *out, struct err *e) MUST_CHECK;	/* O_NOFOLLOW */
/* The one way to write a file that matters: temporary name beside it, write, fsync, rename, fsync the directory. Keeps nothing half
 * done. mode for a new file; uid/gid (uid_t)-1: unchanged. */
int file_replace(const char *path, struct str content, mode_t mode, uid_t uid, gid_t gid, struct err *e) MUST_CHECK;
int file_replace_at(int dirfd, const char *name, struct str content, mode_t mode, struct err *e) MUST_CHECK;
int file_replace_own_at(int dirfd, const char *name, struct str content, mode_t mode, uid_t uid, gid_t gid, struct err *e) MUST_CHECK;
int write_all(int fd, const void *p, size_t n, struct err *e) MUST_CHECK;	/* retries short writes and EINTR */
int pread_all(int fd, void *p, size_t n, uint64_t off, struct err *e) MUST_CHECK;	/* ERR_INPUT when the file is shorter */
int fsync_fd(int fd, const char *what, struct err *e) MUST_CHECK;
int fsync_dir(const char *path, struct err *e) MUST_CHECK;
/* mkdir -p with owner and mode of the last; parents 0755. An existing last directory is fine (not a symbolic link); it gets owner and mode
 * too when uid is given, and is left as it is with uid (uid_t)-1. */
int dir_make(const char *path, mode_t mode, uid_t uid, gid_t gid, struct err *e) MUST_CHECK;
/* 0 when the file and all its parent directories belong to root (or owner_ok) and nobody else may write them (a sticky directory such as
 * /tmp may hold a trusted name). Links are followed; what they lead to must be trusted as well. */
int path_trusted(const char *path, uid_t owner_ok, struct err *e) MUST_CHECK;
/* Open the directory that path (absolute) is in, for one who may do more than those who own directories on the way: links are followed as far as path_trusted
 * holds, and no link below that. make: missing directories are made, 0755. trusted_out: it holds for all of it. ERR_DENIED: a link, or no directory, where none is
 * followed. Returns fd. */
int dir_open_trusted(const char *path, bool make, bool *trusted_out, struct err *e) MUST_CHECK;
/* Mount a file system in memory (tmpfs, 0700) on dir, in a mount namespace of this process' own: as root, before confinement. Where one is
 * mounted already (systemd's TemporaryFileSystem=) that one serves. */
struct memfs {
	uint64_t bytes, files;
	uid_t uid;
	gid_t gid;
};
int memfs_private(const char *dir, const struct memfs *m, struct err *e) MUST_CHECK;
bool dir_name_durable(int fd);	/* this file system makes a synced new file's name durable (ext4, xfs, btrfs; also tmpfs): no directory sync is needed */
/* Here creations, renames and sizes become durable in the order in which they were made, and a sync of one file makes all durable that was done before (ext4,
 * xfs; also tmpfs): files whose bytes are written out already (sync_file_range) need no sync of their own. ext4 without a journal looks the same and does not
 * (INSTALL says so). */
bool fs_commits_in_order(int fd);
/* Here a listing of this directory may begin at any position below the one returned, by several descriptors at once, and each entry has one position (ext4: the hash of its
 * name; where a directory has no hashes, small and old ones, all entries are at the first positions). 0: it may not. */
uint64_t dir_positions(int fd);
/* Between these two, fsync_fd and what stands on it (file_replace …) only keep the order on such a file system: a file's bytes are written out, nothing is
 * committed. Nothing may be promised in between; end makes all of it durable with one sync of fd, whatever happened. For steps that are many and one for
 * the user, on one file system. They may be nested: the outermost end counts. */
void sync_group_begin(int fd);
void sync_group_leave(void);	/* without a sync: the caller's next one, of any file there, comes before its promise */
int sync_group_end(int fd, const char *what, int r, struct err *e) MUST_CHECK;	/* r: what the steps returned; -1 with their error stays */
void close_fd(int *fd);		/* accepts -1, sets -1 */
#define CLEANUP_FD CLEANUP(close_fd)
void close_all_but(const int *keep, size_t n);	/* close_range around the kept ones; 0-2 are kept only if listed */

/* --- sockets --- */
struct peer_cred { pid_t pid; uid_t uid; gid_t gid; };
int sock_tcp_listen(const char *host, uint16_t port, int *fd_out, struct err *e) MUST_CHECK;	/* "" all addresses (v6 dual) */
/* Returns the descriptor; replaces a stale socket after checking that nobody answers. */
int sock_unix_listen(const char *path, int type, mode_t mode, uid_t uid, gid_t gid, struct err *e) MUST_CHECK;
int sock_unix_connect(const char *path, int type, struct err *e) MUST_CHECK;	/* returns fd, blocking; waits 1 s at most when the backlog is full.
										 * ERR_CLOSED: nobody serves it */
int sock_pair(int type, int fds_out[2], struct err *e) MUST_CHECK;	/* CLOEXEC */
int sock_peer_cred(int fd, struct peer_cred *out, struct err *e) MUST_CHECK;
/* Numeric address (IPv4-mapped shown as IPv4) and port of a socket's peer / own side; -1 when it is not IP. text at least 46 bytes. */
int sock_peer_addr(int fd, uint8_t addr_out[16], char *text_out, uint16_t *port_out) MUST_CHECK;
int sock_own_addr(int fd, uint8_t addr_out[16], char *text_out, uint16_t *port_out) MUST_CHECK;
/* systemd socket activation: descriptors by LISTEN_FDNAMES name; *n_out 0 when not activated. Unsets the variables. */
struct listen_fd { int fd; char name[64]; };
int listen_fds(struct listen_fd *out, size_t max, size_t *n_out, struct err *e) MUST_CHECK;
/* Is fd a socket bound to this port of host (a numeric address; "": of all addresses)? */
bool sock_is_at(int fd, const char *host, uint16_t port);

/* --- processes --- */
/* Before anything: fds 0-2 open, umask 022, signals as at boot (SIGPIPE and SIGXFSZ ignored, none blocked), environment cleared to PATH and TZ,
 * room for the title. argv[i] point to copies afterwards. */
void proc_init(int argc, char **argv);
void proc_nofile_raise(void);			/* soft limit of descriptors up to the hard one, at most 65536 */
/* Of freed memory up to bytes stay with the process: that of one message serves the next. What malloc would map by itself, to give it back with the first free,
 * is of the heap then, up to a sixteenth of bytes. */
void proc_keep_memory(size_t bytes);
void proc_give_memory(void);			/* all freed memory back to the system, for when there is nothing to do: what comes next fetches its pages anew */
void proc_title(const char *comm, const char *fmt, ...) PRINTF_LIKE(2, 3);	/* comm (15 bytes) and the argv text that ps shows */
int sd_notify_send(const char *state);		/* "READY=1"; 0 when there is no NOTIFY_SOCKET either */
int pidfile_write(const char *path, struct err *e) MUST_CHECK;	/* locked for the life of this process (so after proc_daemonize): a second start fails */
int pidfile_holder(const char *path, pid_t *pid_out, struct err *e) MUST_CHECK;	/* who holds that lock; ERR_NOENT: nobody */
int proc_daemonize(struct err *e) MUST_CHECK;	/* unless -f; the parent exits after readiness (os_ready) */
/* How often sd_notify_send("WATCHDOG=1") is due: half of what WATCHDOG_USEC says; 0: nobody waits for it. */
uint64_t proc_watchdog_ms(void);
void proc_ready(void);			/* tells systemd (or postern-run), the daemonize parent, and the fd given to proc_ready_fd; once */
void proc_ready_fd(int fd);		/* takes fd: a newline is written there when ready */
/* Run argv[0], which PATH finds, with no input, and wait for its end: what it prints (errors_too: also as errors) is appended to out; buf_failed(out): that was
 * too much. Stores its exit status, 128 + the number of a signal that ended it, or PROC_NOT_STARTED where there is no such program. ERR_TEMP: no process could be
 * made. For tools alone: nothing that is confined starts a program so. */
enum { PROC_NOT_STARTED = 127 };
int proc_output(const char *const argv[], bool errors_too, struct buf *out, int *status_out, struct err *e) MUST_CHECK;

/* --- supervision: a root parent that only starts children and restarts them --- */
struct super_child {
	const char *name;		/* role name: ps and log */
	void (*run)(void *ctx);		/* in the child: confine itself, loop; must not return */
	void *ctx;
	bool with_group;		/* when it dies, all with_group children are ended and started again together (their channels are gone) */
	bool leads;			/* at the end it ends first, while the others still serve it */
	pid_t pid;			/* 0: not running */
	uint64_t started_ms;		/* from here on: super_run's own; leave zero */
	uint64_t start_at_ms;
	unsigned fast_deaths;
};
/* Start all, restart those that die (at once, then after 100 ms … 5 s when they die fast). SIGTERM: end those that lead, then all
 * others (each time TERM, 10 s, KILL) and return.
 * SIGHUP: hup(hup_ctx) then SIGHUP to all. before_start(ctx) runs in the parent before each (re)start of the group: makes the socket pairs
 * that members share; after_start closes the parent's copies. Children get SIGTERM when the supervisor dies. Calls proc_ready() after the first
 * start: listeners must exist by then. */
struct super {
	struct super_child *children;
	size_t n;
	void (*before_start)(void *ctx);
	void (*after_start)(void *ctx);
	void (*hup)(void *ctx);
	void *ctx;
};
int super_run(struct super *s, struct err *e) MUST_CHECK;

#endif
