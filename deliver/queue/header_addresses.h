/* Addresses in a message's header, found and put back: fields of senders and of recipients (RFC 5322 3.6.2, 3.6.3, 3.6.6 and their older kin). Pure.
 *
 *	header_addresses_find(a, head, &completion, &h); … h.addresses[i] looked up … header_address_set(&h, i, new);
 *	n = header_addresses_edits(&h, a, edits, max);		(lib/mail/edit.h)
 */
#ifndef DELIVER_HEADER_ADDRESSES_H
#define DELIVER_HEADER_ADDRESSES_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"
#include "mail/head.h"

enum { HEADER_ADDRESSES_MAX = 1000, HEADER_ADDRESS_FIELDS_MAX = 50, HEADER_FIELD_MAX = 7000, HEADER_ADDRESS_BYTES_MAX = 40000 };

/* For addresses that lack something. */
struct header_completion {
	struct str domain;	/* user -> user@domain; empty: left */
	struct str parent;	/* user@host -> user@host.parent; empty: left */
};

struct header_field {
	struct str name;
	unsigned number;	/* the how manieth of that name */
	struct mail_addr *list;
	size_t first, n;	/* its addresses */
	bool changed;
};

struct header_addresses {
	struct str *addresses;	/* local@domain, quoted where needed */
	struct str *classes;	/* "sender" or "recipient" */
	size_t n, bytes;
	size_t room;		/* of both lists; most messages have two or three addresses */
	struct header_field fields[HEADER_ADDRESS_FIELDS_MAX];
	size_t n_fields;
};

/* Fields with more than fits are left alone. What is found lies in a, and what was in *out before is forgotten. */
void header_addresses_find(struct arena *a, struct str head, const struct header_completion *c, struct header_addresses *out);
/* Address i is this from now on. */
void header_address_set(struct header_addresses *h, size_t i, struct str address);
/* The edits of the fields in which something changed: their number, at most max. */
size_t header_addresses_edits(const struct header_addresses *h, struct arena *a, struct str *edits, size_t max);

#endif
