/* What the sender (log.c) and the receiver (worker.c) of log datagrams share. */
#ifndef LOG_LOG_PRIV_H
#define LOG_LOG_PRIV_H

enum {
	LOG_TEXT_MAX = 2000,		/* bytes of one line's text; pflogsumm and awstats read lines of any length, syslogd cuts at 8 KiB */
	LOG_IDENT_MAX = 130,
	LOG_DATAGRAM_MAX = LOG_TEXT_MAX + LOG_IDENT_MAX + 8,
};

#endif
