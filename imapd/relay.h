/* Commands about folders of others: which they are, and their way to the owner's process and back. */
#ifndef IMAPD_RELAY_H
#define IMAPD_RELAY_H

#include "session.h"

/* Before a handler is called: true: the command is for another process, or wrong; *r says what came of it (CMD_AWAY: its answer comes from there). l stands
 * behind the verb and is left alone otherwise. */
bool relay_try(struct client *c, const struct command *cmd, const struct imap_lex *l, enum cmd_result *r, struct err *e);
/* The same at a literal of APPEND or REPLACE: false: not for another process. */
bool relay_literal(struct client *c, const struct command *cmd, const struct imap_lex *l, enum append_literal *how);

bool relay_away(const struct client *c);	/* no input is read now */
bool relay_streaming(const struct client *c);	/* the next input is of a literal on its way there */
bool relay_data(struct client *c);		/* takes input; false: not now */
enum append_literal relay_more(struct client *c);	/* a further literal of the command */
void relay_text(struct client *c);		/* the command is complete, after its literals */
void relay_line(struct client *c, struct str line);	/* what ends IDLE */
void relay_end(struct client *c);		/* the client ends */

/* NO, since link_ask() says that too much is unanswered. */
enum cmd_result link_busy(struct client *c);

/* Nothing of others stays selected. */
void remote_unselect(struct client *c);

/* --- transfer.c: COPY and MOVE between different owners. l stands behind the verb. from, to: NULL: the client's own --- */
enum cmd_result transfer_start(struct client *c, struct link *from, struct link *to, const struct imap_lex *l, bool move, struct err *e);
void transfer_end(struct client *c);
bool transfer_uses(const struct client *c, const struct link *l);
/* The link has ended. A transfer that was to use it, but had asked nothing there yet, fails now. */
void transfer_lost(struct client *c, struct link *l, enum err_code code);

#endif
