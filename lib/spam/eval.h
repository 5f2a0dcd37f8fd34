/* What eval functions share: their prototypes, what they keep for a message, small tests in words. Each function is a row of evals.def. */
#ifndef SPAM_EVAL_H
#define SPAM_EVAL_H

#include "spam/html.h"

#define EVAL(name, fn, arg) int fn(struct msg *m, const struct rule *r);
#include "spam/evals.def"
#undef EVAL

/* Results that several functions use; made when first asked for. */
struct msg_evals {
	bool mime_made, rcpts_made, ma_made, dates_made, hotmail_made, trail_made, welcome_made, def_made, images_made, freemail_made, plain_made;
	struct {
		size_t base64, qp, html, text, ascii_illegal;
		bool alternative, base64_text, bad_iso, qp_long, attachment, missing_boundary, faraway;
		double ratio, qp_ratio, unicode;
		struct strs charsets;
	} mime;
	struct { bool sorted; double similar; } rcpts;
	struct { double diff; size_t html, text; } ma;
	struct { bool known, fetched; int64_t header, diff, fetchmail, received[MSG_RELAYS_MAX]; size_t n; } dates;
	struct { bool forged, missing; } hotmail;
	struct { unsigned from, ip_helo; } trail;
	int welcome, def;
	struct { size_t count[4]; double area[4]; struct strs sizes[4], names; } images;	/* all gif png jpeg */
	struct { bool skip; struct strs addresses; } freemail;
	struct { bool known; double body, sig, ratio; } plain;
	bool upper_made, vertical_made, base64_made;
	double upper;
	int vertical;
	size_t base64_length;
	struct strs from_addrs, to_addrs;
	bool from_made, to_made;
};

struct msg_evals *evals(struct msg *m);
struct str arg(const struct rule *r, size_t i);		/* "" when there is none */
double arg_number(const struct rule *r, size_t i, double missing);	/* "undef" and "inf" are missing */
const struct strs *from_addrs(struct msg *m);
const struct strs *to_addrs(struct msg *m);
bool loose_date(struct str text, int64_t *out);
bool charset_ok(const struct set *s, struct str charset);
bool pattern_hits(struct msg *m, const struct pattern *p, struct str text);

#endif
