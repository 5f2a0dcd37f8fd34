/* One message under check: its header as rules ask for it, relays, parts, rendered texts, URIs; each made once, when it is first asked for. */
#ifndef SPAM_MSG_H
#define SPAM_MSG_H

#include "base/arena.h"
#include "mail/mime.h"
#include "spam/set.h"

enum {
	MSG_FIELD_NAME_MAX = 256, MSG_FIELD_VALUE_MAX = 8192, MSG_HEAD_MAX = 65536, MSG_LINE_MAX = 2048, MSG_BLANK_LINES_MAX = 20,
	MSG_URI_MAX = 8192, MSG_URIS_MAX = 2000, MSG_PARTS_MAX = 1000, MSG_RELAYS_MAX = 200, MSG_ADDRS_MAX = 2000, MSG_MULTIPLE_MAX = 1000,
};

struct strs { struct str *v; size_t n, cap; };
void strs_add(struct arena *a, struct strs *s, struct str v);
bool strs_has(const struct strs *s, struct str v);

struct field {
	struct str name, key;	/* as written; lower case */
	struct str raw;		/* after the colon, line end included */
	struct str value;	/* decoded, without a line end */
	bool decoded;
};
struct fields { struct field *v; size_t n, cap; };

struct relay {
	struct str ip, rdns, helo, by, ident, envfrom, id, auth, text;
	bool has_envfrom, private, no_rdns, msa;
	bool internal, trusted;
};

struct html;
struct part {
	struct part *parent;
	struct fields fields;
	bool leaf, in_multipart;
	struct str type, charset, name, boundary;	/* type in lower case; others p NULL: absent */
	bool type_missing;
	struct str raw;			/* the encoded body */
	struct str decoded;
	bool is_decoded, is_rendered;
	struct str rendered, visible, invisible;	/* UTF-8; p NULL: not a text that is rendered */
	bool rendered_html;
	struct html *html;
};

struct uri {
	struct str raw;
	struct strs cleaned, hosts, domains, types, texts;
	bool parsed, html;
};

/* The texts of a header specification, and the same as one subject for a pattern; may: which patterns of its prefilter can match it, by number. */
struct head_value { bool made, defined; struct strs v; struct str joined; bool *may; };

/* From where to where in a line there is what a pattern requires, and when its rule runs: where a match may begin. More such places in a line follow each other, apart. */
struct line_hits { unsigned line; size_t from, to; struct line_hits *next; };
/* A text in pieces, and which patterns of its prefilter may match where. times: how often a piece is in the text, at the first of its places, and 0 at the others:
 * alternatives mostly say the same again. NULL: each is looked at. */
struct area {
	bool made, scanned;
	struct strs pieces;
	unsigned *times;
	struct line_hits **may, **last;	/* by prefilter number: the first of a list, and its last */
};

static inline unsigned area_times(const struct area *area, size_t piece) { return area->times == NULL ? 1 : area->times[piece]; }

enum msg_flag { MSG_NO_HEAD_END = 1, MSG_TRUNCATED_HEAD = 2, MSG_NO_PART_HEAD = 4, MSG_NO_PART_HEAD_END = 8, MSG_EPILOGUE = 16, MSG_PART_LIMIT = 32,
		MSG_OPEN_BOUNDARY = 64, MSG_URI_CUT = 128 };

/* costs.c: nanoseconds of each rule and text; inner: of what the running one has asked for. */
struct costs { uint64_t *rules, *texts, inner; };
struct cost_mark { uint64_t start, outer; };

struct msg {
	struct arena *a;
	const struct set *s;
	const struct spam_facts *facts;
	unsigned want, flags, score_set;
	struct str whole;		/* as it came */
	struct str head, body;		/* pristine, LF */
	size_t body_length;		/* as it came */
	struct fields fields;
	struct head_value *heads;
	struct part *parts;		/* depth first, the message itself first */
	size_t n_parts, cap_parts;
	struct relay *relays;
	size_t n_relays, cap_relays;
	unsigned n_unparseable;
	int last_trusted, last_internal;	/* index of a Received field */
	struct strs relay_texts;	/* trusted, untrusted, internal, external */
	struct area body_lines, raw_pieces, uri_list;
	struct uri *uris;
	size_t n_uris, cap_uris;
	bool uris_made;
	struct html **htmls;
	size_t n_htmls;
	struct str envelope_from;
	bool envelope_made, envelope_known;
	double *values;			/* of rules, by index */
	unsigned char *listed;		/* by index: what DNS lists say (dnslists.h); NULL: nobody was asked */
	unsigned char *known;		/* 0 no, 1 being made, 2 yes */
	struct str *matched;		/* by index, with SPAM_WANT_MATCHED */
	unsigned limited;
	struct group *group;		/* run.c's */
	struct msg_evals *evals;	/* what eval functions keep */
	struct costs *costs;		/* with SPAM_WANT_COSTS */
	double bayes;
	bool bayes_made;
};

/* --- msg.c --- */
void msg_init(struct msg *m, struct arena *a, const struct set *s, const struct spam_facts *facts, struct str message, unsigned want);
size_t fields_parse(struct arena *a, struct str in, bool of_message, struct fields *out, unsigned *flags);	/* bytes of the header section */
const struct field *field_last(struct arena *a, const struct fields *f, const char *key);	/* NULL: none; decoded */
struct str field_value(struct arena *a, struct field *f);

/* --- head.c --- */
const struct head_value *msg_head(struct msg *m, const struct head_spec *spec);
/* By name, as "From:addr": all texts; one text as evals see it ("" when there is none). */
const struct strs *msg_get_all(struct msg *m, const char *spec);
struct str msg_get(struct msg *m, const char *spec);
bool msg_has(struct msg *m, const char *spec);
bool msg_envelope_from(struct msg *m, struct str *out);
struct str decode_field(struct arena *a, struct str value, struct str key);
struct str charset_to_utf8(struct arena *a, struct str bytes, struct str charset, bool insist);

/* --- addrs.c --- */
struct hdr_addr { struct str phrase, address; };	/* p NULL: none */
size_t addrs_parse(struct arena *a, struct str text, struct hdr_addr *out, size_t max);

/* --- received.c, relays.c --- */
struct received;
int received_load(struct set *s, struct err *e) MUST_CHECK;
int received_parse(const struct set *s, struct arena *a, struct str line, struct relay *out);	/* 1 a relay, 0 none of interest, -1 not understood */
void msg_relays(struct msg *m);
bool ip_private(struct str ip);
bool ip_is(struct str text);		/* IPv4 or IPv6 */
bool ip_is_v4(struct str text);

/* --- parts.c, text.c --- */
void msg_parts(struct msg *m);
void content_type_parse(struct arena *a, struct part *p);
struct str part_decoded(struct arena *a, struct part *p);
void part_render(struct msg *m, struct part *p);
const struct strs *msg_body_lines(struct msg *m);
const struct strs *msg_raw_pieces(struct msg *m);

/* --- uri.c, domain.c --- */
void msg_uris(struct msg *m);
const struct strs *msg_uri_list(struct msg *m);
void uri_canonicalize(const struct set *s, struct arena *a, struct str uri, struct strs *out);
bool fqdn_ok(struct str host);
bool domain_ok(const struct set *s, struct str host);		/* ends in a known top-level domain */
struct str domain_trim(const struct set *s, struct arena *a, struct str host);	/* the registered domain, lower case */
bool uri_to_domain(const struct set *s, struct arena *a, struct str uri, struct str *domain, struct str *host);
struct str url_decode_safe(struct arena *a, struct str url);

/* --- run.c, spam.c --- */
struct spam;
struct set *spam_set(const struct spam *s);	/* for tools and tests */
double rule_value(struct msg *m, const struct rule *r);
static inline bool rule_active(const struct msg *m, const struct rule *r) { return r->active >> m->score_set & 1; }
void run_prefilters(struct msg *m);		/* over all texts */

/* --- costs.c --- */
void costs_new(struct msg *m);			/* makes the texts */
struct cost_mark cost_begin(struct msg *m);
void cost_of_rule(struct msg *m, const struct rule *r, struct cost_mark mark);
void costs_collect(struct msg *m, struct spam_result *out);

/* --- small helpers of all (strings.c) --- */
struct str str_squeeze(struct arena *a, struct str s);		/* runs of white space to one blank */
bool fold_ends(struct str s, const char *end);			/* case folded */
static inline bool sp_char(char c) { return c == ' ' || (c >= 9 && c <= 13); }	/* \s: space, \t \n \v \f \r */
struct str sp_trim(struct str s);
struct str str_cat(struct arena *a, struct str x, struct str y);

#endif
