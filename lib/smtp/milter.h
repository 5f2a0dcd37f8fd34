/* The milter protocol, version 6: packets both ways. Pure; the reading of what a filter sends is fuzzed.
 * A packet is a 32-bit length, a command byte, data; strings end in NUL, numbers are big-endian. */
#ifndef SMTP_MILTER_H
#define SMTP_MILTER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum {
	MILTER_VERSION_MIN = 2,
	MILTER_VERSION = 6,
	MILTER_PACKET_MAX = 1 << 17,	/* that a filter may send */
	MILTER_CHUNK = 65535,		/* of the body, that we send */
};
/* As SETSYMLIST counts them. */
enum milter_stage { MILTER_CONNECT, MILTER_HELO, MILTER_MAIL, MILTER_RCPT, MILTER_DATA, MILTER_EOM, MILTER_EOH, MILTER_STAGES };
/* What a filter may do. */
enum {
	MA_ADDHDRS = 0x1,
	MA_CHGBODY = 0x2,
	MA_ADDRCPT = 0x4,
	MA_DELRCPT = 0x8,
	MA_CHGHDRS = 0x10,
	MA_QUARANTINE = 0x20,
	MA_CHGFROM = 0x40,
	MA_ADDRCPT_PAR = 0x80,
	MA_SETSYMLIST = 0x100,
	MA_OURS = 0x1ff,
};
/* What it does not want to see (NO_), will not answer (NR_). */
enum {
	MP_NO_CONNECT = 0x1,
	MP_NO_HELO = 0x2,
	MP_NO_MAIL = 0x4,
	MP_NO_RCPT = 0x8,
	MP_NO_BODY = 0x10,
	MP_NO_HDRS = 0x20,
	MP_NO_EOH = 0x40,
	MP_NR_HDR = 0x80,
	MP_NO_UNKNOWN = 0x100,
	MP_NO_DATA = 0x200,
	MP_SKIP = 0x400,
	MP_RCPT_REJ = 0x800,
	MP_NR_CONN = 0x1000,
	MP_NR_HELO = 0x2000,
	MP_NR_MAIL = 0x4000,
	MP_NR_RCPT = 0x8000,
	MP_NR_DATA = 0x10000,
	MP_NR_UNKN = 0x20000,
	MP_NR_EOH = 0x40000,
	MP_NR_BODY = 0x80000,
	MP_LEADSPC = 0x100000,
	MP_OURS = 0x1fffff & ~MP_RCPT_REJ,
	MP_VERSION_2 = 0x7f,		/* all that an offer of version 2 may hold */
};

struct milter_options {
	uint32_t version, actions, protocol;
	struct str macros[MILTER_STAGES];	/* p NULL: not said; names divided by blanks */
};
struct milter_reply {
	char command;		/* c a r t d y p s 4 f; h i m + 2 - e q b; O */
	uint32_t index;		/* i m */
	struct str a, b;	/* h i m: name, value; + 2 - e: address, parameters; q y: text; b: a piece of the body */
};

/* One packet at the start of in. 0: *command, *data, *used; 1: need more; -1: longer than MILTER_PACKET_MAX, or empty. */
int milter_packet_get(struct str in, char *command, struct str *data, size_t *used, struct err *e) MUST_CHECK;
/* The answer to an offer of version. Protocol steps that were not offered are ERR_INPUT; actions that were not are dropped: filters are known that claim all. */
int milter_options_get(struct str data, uint32_t version, struct milter_options *out, struct err *e) MUST_CHECK;
int milter_reply_get(char command, struct str data, struct milter_reply *out, struct err *e) MUST_CHECK;
/* "550 5.7.1 text", lines divided by CRLF, each with the same code, 400..599; *text lines divided by \n. enhanced: "" when there is none. ERR_INPUT: no such text. */
enum { MILTER_ENHANCED_MAX = 13 };
int milter_text_get(struct str s, int *code, char enhanced[MILTER_ENHANCED_MAX], struct buf *text, struct err *e) MUST_CHECK;

/* Appended to out. */
void milter_put(struct buf *out, char command, struct str data);
void milter_put_options(struct buf *out, uint32_t version);
void milter_put_strings(struct buf *out, char command, const struct str *v, size_t n);	/* each with its NUL; NUL bytes inside become ? */

#endif
