/* Where a command ends: a machine over the bytes of an IMAP connection that knows lines, quoted strings and literals (RFC 3501
 * section 4.3, RFC 7888) and nothing else. It stores no bytes: the caller keeps what was taken (struct imap_scan says whether it
 * is worth keeping), decides about each literal before one byte of it is read, and gives the complete text to the lexer (lex.h).
 *
 *	while ((r = imap_scan(&s, input, &used)) != IMAP_SCAN_MORE) …
 *	if (s.error == IMAP_SCAN_OK) buf_mem(&cmd, input.p, used);
 */
#ifndef IMAP_SCAN_H
#define IMAP_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum imap_scan_result {
	IMAP_SCAN_MORE,		/* all was taken; the command is not complete */
	IMAP_SCAN_LITERAL,	/* taken up to the line end that announces a literal: accept, refuse or stream it */
	IMAP_SCAN_DONE,		/* taken up to the command's end */
};

enum imap_scan_error {
	IMAP_SCAN_OK,
	IMAP_SCAN_LONG,		/* the lines are longer than line_max */
	IMAP_SCAN_BYTES,	/* a bare CR or LF, or a NUL, outside of literals */
	IMAP_SCAN_TOOBIG,	/* a literal was refused, or its size is no 63-bit number */
	IMAP_SCAN_FATAL,	/* what follows cannot be told from commands: the connection must end */
};

enum { IMAP_SCAN_SKIP_MAX = 1 << 30 };	/* a refused literal (LITERAL+) is read over up to this size */

struct imap_scan {
	size_t line_max;	/* most bytes outside of literals */
	/* about the command so far */
	size_t line_bytes;
	uint64_t literal_bytes;	/* of accepted literals */
	enum imap_scan_error error;
	/* the literal just announced */
	uint64_t lit_size;
	bool lit_nonsync;	/* {n+}: the client does not wait */
	bool lit_binary;	/* ~{n} (RFC 3516) */
	/* inside */
	unsigned char state, quote, brace;
	char last;
	bool lit_overflow;
	uint64_t left;		/* of the literal that is being read */
};

void imap_scan_init(struct imap_scan *s, size_t line_max);
/* Take bytes of in; *used_out says how many. After IMAP_SCAN_DONE the machine is ready for the next command only after
 * imap_scan_init; error says what is wrong with this one. After IMAP_SCAN_LITERAL one of the calls below is due. Pure. */
enum imap_scan_result imap_scan(struct imap_scan *s, struct str in, size_t *used_out);

/* The literal becomes part of the command's text. */
void imap_scan_accept(struct imap_scan *s);
/* Not wanted. true: the command is over (the client waits for leave, or it is beyond reading over: then error is FATAL);
 * false: go on scanning, its bytes are read over and the command ends with error TOOBIG. */
bool imap_scan_refuse(struct imap_scan *s);
/* The caller takes the literal's lit_size bytes itself; what follows them is scanned as the command's continuation. */
void imap_scan_stream(struct imap_scan *s);

#endif
