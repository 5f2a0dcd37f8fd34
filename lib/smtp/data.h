/* The one reader of message data (RFC 5321 4.1.1.4 and 4.5.2), and its inverse for the client. Pure: bytes in, the LF form out through a sink.
 *
 * Rules, without exception for any network:
 *   - only CR LF '.' CR LF ends the data; a lone dot beside a bare LF, a bare CR or a NUL is content, and
 *   - a bare CR, a bare LF or a NUL anywhere is a fault: the rest is read and dropped up to the real end, and the message is refused. So no message
 *     with ambiguous line ends enters (SMTP smuggling is impossible by construction) and none is altered silently;
 *   - one leading dot of a line is removed; CR LF becomes LF;
 *   - the first line that is no header field begins the body; where the empty line before it is missing, it is put in (the one thing that is
 *     added);
 *   - a line longer than SMTP_DATA_LINE_MAX is a fault; nothing is cut.
 *
 *	smtp_data_init(&d, &limits, sink, ctx, room, sizeof room);
 *	while ((r = smtp_data_feed(&d, input, &used)) == 1) … more input …
 *	r == 0: d.fault says whether it is a message; smtp_data_flush was done
 */
#ifndef SMTP_DATA_H
#define SMTP_DATA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum { SMTP_DATA_LINE_MAX = 1048576, SMTP_DATA_FIELD_MAX = 1100, SMTP_MESSAGE_ID_MAX = 998 };

enum smtp_data_fault {
	SMTP_DATA_FINE,
	SMTP_DATA_BARE_CR,
	SMTP_DATA_BARE_LF,
	SMTP_DATA_NUL,
	SMTP_DATA_LONG_LINE,
	SMTP_DATA_LONG_HEADER,
	SMTP_DATA_TOO_BIG,
	SMTP_DATA_SINK,		/* the sink failed */
};

struct smtp_data_limits {
	uint64_t size_max;	/* bytes in the CRLF form (RFC 1870); 0: none */
	uint64_t header_max;	/* bytes of the header section */
};

/* Takes n bytes of the LF form. 0, or -1 to refuse the rest (SMTP_DATA_SINK). */
typedef int smtp_data_sink(void *ctx, const void *p, size_t n);

struct smtp_data {
	/* results */
	enum smtp_data_fault fault;	/* the first one */
	uint64_t size;			/* bytes of the LF form */
	uint64_t lines;
	uint64_t wire;			/* bytes of the CRLF form, dots of dot-stuffing not counted */
	unsigned received;		/* Received fields in the header */
	bool has_date, has_from;
	char message_id[SMTP_MESSAGE_ID_MAX + 1];	/* "<…>" or empty; printable ASCII */
	/* inside */
	int state;
	bool chunked;			/* no dots, no end: RFC 3030 */
	bool in_header, header_id, decided;	/* decided: the current header line has been judged */
	uint64_t line_n;
	struct smtp_data_limits limits;
	smtp_data_sink *sink;
	void *ctx;
	char *room;
	size_t room_n, room_max;
	char field[SMTP_DATA_FIELD_MAX];	/* start of the current header line */
	size_t field_n;
};

/* room: output is collected there and handed to the sink when it is full; borrowed until the end. At least 4096 bytes. */
void smtp_data_init(struct smtp_data *d, const struct smtp_data_limits *limits, smtp_data_sink *sink, void *ctx, char *room, size_t room_max);
/* 1: all of in was taken, more is needed. 0: the end was found and everything is in the sink; *used_out bytes were taken, what follows is the next
 * command. */
int smtp_data_feed(struct smtp_data *d, struct str in, size_t *used_out) MUST_CHECK;

/* The same for a message that comes in chunks of known length (BDAT, RFC 3030): dots mean nothing, and the end is said by the caller. After init,
 * smtp_data_chunk() for all of it, then smtp_data_chunk_end(), which completes a last line without end. Cuts between chunks may be anywhere. */
void smtp_data_chunk(struct smtp_data *d, struct str in);
void smtp_data_chunk_end(struct smtp_data *d);

/* The client's side: LF form to wire. at_bol starts true and is kept between calls. CR LF and LF become CR LF, any other CR a blank; a leading dot is
 * doubled. No bare CR or LF can come out. A CR at the end of in is held in *cr. */
struct smtp_dot {
	bool at_bol;
	bool cr;
};
#define SMTP_DOT_INIT { .at_bol = true }
void smtp_dot_encode(struct smtp_dot *s, struct str in, struct buf *out);
/* The end: completes a last line without end, then ".\r\n". */
void smtp_dot_end(struct smtp_dot *s, struct buf *out);

#endif
