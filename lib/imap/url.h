/* IMAP URLs as CATENATE takes them (RFC 4469, RFC 5092): of a message on this server, or a part of it, relative to the server ("/INBOX/;UID=20") or to the
 * selected mailbox (";UID=20/;SECTION=1.2"). Pure. */
#ifndef IMAP_URL_H
#define IMAP_URL_H

#include "imap/fetch.h"

struct imap_url {
	struct str mailbox;		/* UTF-8, decoded; p NULL: the selected one */
	uint32_t uidvalidity;		/* 0: not said */
	uint32_t uid;
	struct imap_section section;	/* kind ALL and depth 0: the whole message */
	bool partial;
	uint64_t from, count;		/* count 0: to the end */
};
/* -1 ERR_INPUT: no URL, or one of another server. Allocates from a. */
int imap_url_parse(struct arena *a, struct str text, struct imap_url *out, struct err *e) MUST_CHECK;

#endif
