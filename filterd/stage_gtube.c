/* GTUBE, the generic test for unsolicited bulk e-mail: in the message as it is, or in any decoded text part. The string is kept in two halves, so
 * that this file does not hold it. */
#include "scan.h"

static const char first[] = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-";
static const char second[] = "TEST-EMAIL*C.34X";

static int check(void *ctx, const struct mime_part *p)
{
	(void)ctx;
	if (p->children != NULL || !mime_type_is(p, "text", "*"))
		return 0;
	struct buf text;
	buf_init(&text, p->body.n + 1);
	mime_body_decode(p, &text);
	struct str rest = buf_view(&text);
	int found = 0;
	for (ptrdiff_t at; !found && (at = str_find(rest, STR(first))) >= 0;) {
		rest = str_from(rest, (size_t)at + sizeof(first) - 1);
		found = str_starts(rest, STR(second));
	}
	buf_fini(&text);
	return found;
}

int stage_gtube(struct scan *s, struct err *e)
{
	(void)e;
	if (scan_each_part(s->root, check, s) == 0)
		return 0;
	scan_explain(s, "gtube", "the test string for unsolicited bulk mail");
	s->verdict.hits = "1000";
	return s->whitelisted ? 0 : scan_found(s, CLASS_SPAM, "GTUBE", "This message looks like spam (GTUBE)");
}
