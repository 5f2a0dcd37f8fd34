/* Unique ids of messages (RFC 1939 7), as pop3_uidl_format says. Pure.
 *
 *	struct uidl_form form;
 *	uidl_form_make(format, uidvalidity, &form);
 *	for all messages: form.n ? uidl_form_put(&form, uid, out) : uidl_put(format, uid, uidvalidity, base, out);
 */
#ifndef POP3D_UIDL_H
#define POP3D_UIDL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* What the ids of a mailbox have in common where only the UID's digits differ; n 0: they differ in more. */
struct uidl_form {
	char text[80];
	size_t n, n_at;
	unsigned char at[8];	/* there stand the UID's eight hexadecimal digits */
};
void uidl_form_make(const char *format, uint32_t uidvalidity, struct uidl_form *out);
void uidl_form_put(const struct uidl_form *form, uint32_t uid, struct buf *out);
/* number SP id CRLF: a line of UIDL's answer */
void uidl_form_line(const struct uidl_form *form, uint32_t number, uint32_t uid, struct buf *out);
/* Any format; base: the file's name without flags. What would be no id (RFC 1939: 1 to 70 printable bytes) is replaced by UID and UIDVALIDITY. */
void uidl_put(const char *format, uint32_t uid, uint32_t uidvalidity, const char *base, struct buf *out);
bool uidl_ok(struct str s);

#endif
