/* NOTIFY (RFC 5465): what a client wants to be told, from a command's text. The events are notify.def. Pure; fuzzed with the other arguments. */
#ifndef IMAP_NOTIFY_H
#define IMAP_NOTIFY_H

#include "imap/fetch.h"
#include "imap/mboxes.h"

enum imap_event {
#define NOTIFY_EVENT(id, name, source) IMAP_EVENT_##id,
#include "imap/notify.def"
#undef NOTIFY_EVENT
	IMAP_EVENT_MAX_
};
#define EVENT_BIT(id) (1u << IMAP_EVENT_##id)
enum {
	IMAP_EVENT_GROUPS_MAX = 100,
	IMAP_MESSAGE_EVENTS = EVENT_BIT(MESSAGENEW) | EVENT_BIT(MESSAGEEXPUNGE) | EVENT_BIT(FLAGCHANGE),
};

struct imap_event_group {
	struct imap_mboxes boxes;
	unsigned events;		/* EVENT_BIT(); 0: "NONE" */
	struct str text;		/* as spelled */
	bool has_fetch;			/* MessageNew with items */
	struct imap_fetch fetch;
};
struct imap_notify {
	bool none, status;
	bool bad_event;			/* an event that there is none of, or not by this server: NO [BADEVENT …] */
	struct imap_event_group *v;
	size_t n;
};
/* "NONE" / "SET" [SP "STATUS"] SP groups */
int imap_get_notify(struct imap_lex *l, struct imap_notify *out, struct err *e) MUST_CHECK;
/* "(MessageNew …)" for BADEVENT. */
void imap_put_events(struct buf *out);

#endif
