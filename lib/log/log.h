/* One event per line. Lines go by datagram, a line feed between several, to the log process ($run/log/sock), which adds time, host and the
 * sender's pid (from the kernel's credentials) and writes syslog's traditional form to maillog_file or to
 * syslog(3). Before log_open, and with -f -v, lines go to stderr. A full log holds a process up for at most
 * 10 ms, a dead one never: lines are counted and "N lines lost" follows; a sender above 200 lines a second is
 * cut by the log process ("N lines suppressed"). Peer text is neutralised by the caller's use of log_*
 * formats: every byte that is not printable ASCII or valid UTF-8 is replaced before the line leaves.
 *
 * Idents follow what log parsers expect: "postfix/smtpd", "postfix/qmgr", "postfix/local",
 * "postfix/cleanup", "postfix/smtp", "dovecot" (the text starts with "imap-login: …"), "amavis"; the part before
 * the slash is syslog_name (default "postern") for the programs that Postfix has too, "postern" for all others.
 */
#ifndef LOG_LOG_H
#define LOG_LOG_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"

enum log_level {
	LOG_LV_ERROR,	/* someone must act */
	LOG_LV_WARNING,	/* refused or retried */
	LOG_LV_INFO,	/* one line per session and per message */
	LOG_LV_DEBUG,
};

/* syslog_name is the prefix of every "x/program" ident; program is this process's part ("smtpd", "qmgr"). sock
 * is the log process's socket, or NULL for stderr only. Connects now, so that it works after chroot. */
int log_open(const char *syslog_name, const char *program, const char *sock, struct err *e) MUST_CHECK;
void log_program(const char *program);		/* change the ident's second part (after fork) */
void log_verbose(bool on);			/* debug lines, and a copy of all lines on stderr */
/* From now on lines of level info wait for log_flush(), some in one datagram: for a process that says thousands a second, and flushes before it waits. What is
 * worse than info goes at once, after what waits. */
void log_gather(void);
void log_flush(void);				/* does nothing when nothing waits */
/* From now on lines go nowhere but to fn, without their level's word: for a tool that asks a daemon's code, and tells by itself what it hears. */
void log_divert(void (*fn)(void *ctx, enum log_level lv, const char *text), void *ctx);
int log_fd(void);				/* for sandboxes and close-all loops; -1 when none */

/* The level's word comes before the text ("warning: …", "error: …", as log parsers expect), unless fmt starts with it. errno is kept. */
void log_line(enum log_level lv, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* With another ident, whole: "dovecot", "amavis" (no slash: no level's word is added), or log_ident("qmgr"). Processes of other users
 * than root and the suite's own may only write dovecot lines that start with imap( or pop3(: the log process marks all else. */
void log_as(const char *ident, enum log_level lv, const char *fmt, ...) PRINTF_LIKE(3, 4);
const char *log_ident(const char *program);	/* "<syslog_name>/<program>"; static storage, valid until the next call */

#define log_error(...) log_line(LOG_LV_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LV_WARNING, __VA_ARGS__)
#define log_info(...) log_line(LOG_LV_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LV_DEBUG, __VA_ARGS__)

#endif
