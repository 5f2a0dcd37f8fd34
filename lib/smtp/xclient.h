/* The attributes of XCLIENT and XFORWARD (Postfix's XCLIENT_README, XFORWARD_README): "NAME=value …", values in xtext. Pure. Who may send them is not
 * decided here. */
#ifndef SMTP_XCLIENT_H
#define SMTP_XCLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum smtp_xattr {
	XATTR_NAME, XATTR_ADDR, XATTR_PORT, XATTR_PROTO, XATTR_HELO,		/* both */
	XATTR_LOGIN, XATTR_DESTADDR, XATTR_DESTPORT,				/* XCLIENT */
	XATTR_IDENT, XATTR_SOURCE,						/* XFORWARD */
	XATTR_MAX_
};
/* Which may be given to which command. */
enum { XATTRS_XCLIENT = 0xff, XATTRS_XFORWARD = 0x31f };

struct smtp_xattrs {
	struct str v[XATTR_MAX_];	/* p NULL: not given; empty: [UNAVAILABLE] or [TEMPUNAVAIL] */
};

/* Read all attributes of args into *io (those not given are left alone); allowed: bits of enum smtp_xattr. Checked: xtext, addresses (IPv6 with the
 * prefix "IPV6:", which is dropped; the result is inet_ntop's text), ports, protocols (SMTP, ESMTP), SOURCE (LOCAL, REMOTE); texts are printable and at
 * most 255 bytes. 0, or -1: ERR_INPUT with a text for the client. Strings live in a. */
int smtp_xattrs_parse(struct arena *a, struct str args, unsigned allowed, struct smtp_xattrs *io, struct err *e) MUST_CHECK;
/* " NAME ADDR PORT …" for EHLO. */
void smtp_xattrs_names(unsigned allowed, struct buf *out);

#endif
