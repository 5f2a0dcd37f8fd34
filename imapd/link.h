/* A connection of one client to another user's session process, which serves it as a guest (guest.c). It speaks IMAP: the owner's process runs the same
 * engine over the same names, so that most commands and answers pass as they are (relay.c); what cannot is asked here (LIST, copies to and from elsewhere).
 *
 * Opened when first needed, through authd; what is sent before it is open waits. Each command that is sent has an ask, answered in order. The owner's
 * process is believed about its own folders and nothing else: responses that are not of the kinds in relayed.def are dropped, and what breaks the form
 * or a limit ends the link.
 */
#ifndef IMAPD_LINK_H
#define IMAPD_LINK_H

#include "session.h"

enum {
	LINKS_MAX = 16,			/* of one client */
	LINK_LINE_MAX = 8 << 20,	/* one line of a response, without its literals */
	LINK_OUT_HIGH = 131072,
	LINK_OUT_MAX = 64 << 20,
	LINK_ASKS_MAX = 8,		/* unanswered, those that were given up included */
	LINK_COLLECT_MAX = 1 << 20,	/* one response that is taken apart here */
	LINK_OPEN_MS = 5000,		/* a process that does not answer */
	LINK_ASK_MS = 10000,		/* and to what is asked here, beside the client's own commands */
	LINK_IDLE_MS = 60000,		/* unused and nothing selected: closed */
};

struct link;
/* Who hears the answer to one command. Any of them may end the client: link_each says whether it did. */
struct link_user {
	bool slow;		/* may take long without a word */
	bool pass;		/* untagged responses go to the client as they are */
	const char *also;	/* responses of this kind are heard whatever is selected */
	/* else: each untagged response, literals inside as sent, but for those that literal() takes */
	void (*untagged)(void *ctx, struct link *l, struct str text);
	/* The response so far (up to "{n}") announces n bytes: true: they go to data(), and untagged() hears the rest. */
	bool (*literal)(void *ctx, struct link *l, struct str text, uint64_t n);
	void (*data)(void *ctx, struct link *l, struct str bytes);
	void (*plus)(void *ctx, struct link *l, struct str line);
	void (*tagged)(void *ctx, struct link *l, struct str rest);	/* "OK …" without tag and line end; the ask is over */
	void (*lost)(void *ctx, struct link *l, enum err_code code);	/* the link has ended; the ask is over. NOENT: nothing is shared */
	void (*drained)(void *ctx, struct link *l);			/* what was sent has left */
};

/* The client's link to that user. NULL: too many. */
struct link *link_get(struct client *c, struct str owner);
/* One of its own, over which that process tells what it was asked to tell (watches.c): each untagged response goes to user->untagged, whatever is asked; lost()
 * says that it has ended. It stays until link_end. NULL: too many. */
struct link *link_watch(struct client *c, struct str owner, const struct link_user *user, void *ctx);
void links_enable(struct client *c);	/* the client has enabled more: those are told */
/* A command is under way: its tag, without which no tagged line is taken. What it says goes through link_write. False: too many are unanswered; nobody
 * will hear of this one, and nothing of it may be sent. */
bool link_ask(struct link *l, struct str tag, const struct link_user *user, void *ctx) MUST_CHECK;
void link_write(struct link *l, struct str bytes);
/* A whole command of ours: tag and line end are added. False as link_ask: nothing was sent. */
bool link_command(struct link *l, const char *text, const struct link_user *user, void *ctx) MUST_CHECK;
bool link_command_begin(struct link *l, const char *text, const struct link_user *user, void *ctx) MUST_CHECK;	/* without the line end */
void link_forget(struct link *l, const void *ctx);	/* whoever asked with ctx does not hear the answer */
extern const struct link_user link_ignore;	/* whatever it answers */
bool link_full(const struct link *l);		/* drained() will come */
void link_pause(struct link *l, bool on);	/* stop reading its answers */
void link_end(struct link *l);			/* asks are forgotten, not answered */
void link_break(struct link *l, const char *why);	/* its process says too much: whoever waits hears that it is lost */

void links_end(struct client *c);
void links_resume(struct client *c);		/* the client has taken its output */
void links_wake(struct client *c);		/* the same, soon: a command has ended */
/* From authd. */
void link_opened(struct user *u, uint32_t id, int fd, enum err_code code);

#endif
