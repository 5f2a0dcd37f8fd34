/* The ESMTP parameters of delivery status notifications (RFC 3461 4). Pure: text in, value out, nothing kept. */
#ifndef SMTP_DSN_H
#define SMTP_DSN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/str.h"

/* Bytes, decoded; and of ORCPT, an address with its type, as it is sent (RFC 3461 4.2, 4.4). */
enum { SMTP_ENVID_MAX = 100, SMTP_ORCPT_MAX = 500 };

/* NOTIFY= as bits; 0: not given (the server's default: failures, and delays if it likes). NEVER stands alone. */
enum smtp_notify { SMTP_NOTIFY_SUCCESS = 1, SMTP_NOTIFY_FAILURE = 2, SMTP_NOTIFY_DELAY = 4, SMTP_NOTIFY_NEVER = 8 };
/* RET=: how much of the message a failure notification returns; 0: not given. */
enum smtp_ret { SMTP_RET_NONE, SMTP_RET_FULL, SMTP_RET_HDRS };

/* 0, or -1: not the syntax of RFC 3461 4.1 and 4.3. */
int smtp_notify_parse(struct str value, uint64_t *bits_out) MUST_CHECK;
int smtp_ret_parse(struct str value, uint64_t *ret_out) MUST_CHECK;
/* Append the decoded value to out: of ENVID (4.4) printable ASCII, of ORCPT (4.2) "type;address" with an address that holds no control; of the type
 * utf-8 it may be in UTF-8 already (RFC 6533 3), where the client may send that. A decoded
 * NUL or line end is refused, so that the value can stand in a report or a log as it is. */
int smtp_envid_parse(struct str value, struct buf *out) MUST_CHECK;
int smtp_orcpt_parse(struct str value, struct buf *out) MUST_CHECK;
/* Append such an address as ORCPT='s value. Of the type utf-8 it is in UTF-8 where smtputf8 says that the message is sent with SMTPUTF8; else all is xtext, with \x{F6}
 * for what is beyond ASCII (RFC 6533 3). -1: it would be longer than SMTP_ORCPT_MAX, and nothing is appended: servers need not take that (RFC 3461 4.2). */
int smtp_orcpt_format(struct str orcpt, bool smtputf8, struct buf *out) MUST_CHECK;
/* Is this a set of bits that smtp_notify_parse could have given (or 0)? For receivers that were handed the bits. */
bool smtp_notify_valid(uint64_t bits);
/* The same wishes for copies of whose success somebody else tells (RFC 3461 5.2.7: aliases and lists): without SUCCESS, and NEVER where that was all. */
uint64_t smtp_notify_without_success(uint64_t bits);
/* "SUCCESS,FAILURE" and so on; nothing for 0. */
void smtp_notify_format(uint64_t bits, struct buf *out);

#endif
