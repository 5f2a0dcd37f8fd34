/* Dispatch: the table, the checks that come before every handler (state, UID form), slices of long commands, and the tagged answer with the
 * untagged updates before it (RFC 3501 sections 2.2.2, 3, 5.5, 7). */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "imap/out.h"
#include "held.h"
#include "link.h"
#include "relay.h"
#include "session.h"

static const struct command rows[] = {
#define CMD(verb, states, flags, source) { #verb, states, flags, cmd_##verb },
#include "commands.def"
#undef CMD
};

const struct command *command_find(struct str verb)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (str_case_eq(verb, str_c(rows[i].verb)))
			return &rows[i];
	}
	return NULL;
}

enum cmd_result command_answer(struct client *c, const char *status, const char *code, const char *text)
{
	c->run.status = status;
	c->run.code = code;
	c->run.text = text;
	return CMD_DONE;
}

void command_drop(struct client *c)
{
	if (c->run.cleanup)
		c->run.cleanup(c);
	append_abort(c);
	c->run = (struct run){ 0 };
	arena_reset(c->arena);
	buf_fini(&c->text);
	imap_scan_init(&c->scan, (size_t)c->user->conf->imap_line_max);
}

/* Updates that this command's answer may carry. True: more are left. */
static bool updates(struct client *c, bool refresh)
{
	const struct command *cmd = c->run.cmd;
	struct err e = { 0 };
	const bool allow_expunge = !(cmd->flags & CF_NOEXPUNGE) || c->run.uid;

	if (!c->folder || (cmd->flags & CF_NOSYNC))
		return false;
	const int r = folder_sync(c, refresh, allow_expunge, &e);

	if (r >= 0)
		return r > 0;
	if (e.code == ERR_NOENT) {
		resp_untagged(c, "BYE Mailbox was deleted.");
		c->why = "Mailbox was deleted";
	} else {
		resp_untagged(c, "NO %s", e.text);
	}
	return false;
}

static bool first_updates(struct client *c)
{
	notify_flush(c);
	return updates(c, c->run.cmd->flags & CF_REFRESH);
}

static void answer(struct client *c, enum cmd_result r, struct err *e)
{
	char line[ERR_TEXT_MAX + 80];

	switch (r) {
	case CMD_OK:
		snprintf(line, sizeof(line), "%s%s completed.", c->run.uid ? "UID " : "", c->run.cmd->verb);
		resp_tagged(c, "OK", "", line);
		return;
	case CMD_DONE:
		resp_tagged(c, c->run.status, c->run.code, c->run.text);
		return;
	case CMD_NO:
		resp_tagged(c, "NO", e->code == ERR_INPUT ? "CANNOT" : err_row(e->code)->imap, e->text);
		return;
	case CMD_BAD:
		snprintf(line, sizeof(line), "Error in IMAP command: %s", e->text);
		resp_tagged(c, "BAD", "", line);
		return;
	case CMD_MORE:
	case CMD_WAIT:
	case CMD_AWAY:
	case CMD_HELD:
	case CMD_ASIDE:
	case CMD_CLOSED:
		return;
	}
}

void command_reply(struct client *c, enum cmd_result r, struct err *e)
{
	c->bad = r == CMD_BAD ? c->bad + 1 : 0;
	if (r != CMD_BAD && c->run.cmd)
		(void)first_updates(c);
	answer(c, r, e);
}

static void finish(struct client *c, enum cmd_result r, struct err *e)
{
	answer(c, r, e);
	resp_flush(c);
	command_drop(c);
	links_wake(c);
	if (c->compress)
		compress_begin(c);
	if (c->bad >= CLIENT_BAD_MAX)
		client_end(c, "Too many invalid IMAP commands", "Too many invalid IMAP commands.");
	else if (c->why)
		client_end(c, c->why, NULL);
}

/* The command is over, and its client hears of what others have changed, a piece at a time: until its answer no number is in use. */
static enum cmd_result updates_step(struct client *c, struct err *e)
{
	if (updates(c, false))
		return CMD_MORE;
	c->run.told = true;
	*e = *c->run.failure;
	return c->run.result;
}

static void slice_later(struct client *c);

static void finish_later(struct client *c, enum cmd_result r, const struct err *e)
{
	c->run.result = r;
	c->run.failure = ARENA_NEW(c->arena, struct err);
	*c->run.failure = *e;
	c->run.step = updates_step;
	resp_flush(c);
	if (!resp_full(c))
		slice_later(c);
}

void command_finish(struct client *c, enum cmd_result r, struct err *e)
{
	if (r == CMD_CLOSED)
		return;
	if (r == CMD_HELD) {
		command_drop(c);
		return;
	}
	c->bad = r == CMD_BAD ? c->bad + 1 : 0;
	if (r != CMD_BAD && c->run.cmd && !c->run.told && first_updates(c))
		finish_later(c, r, e);
	else
		finish(c, r, e);
}

/* --- slices --- */

static void on_slice(void *ctx)
{
	struct client *c = ctx;

	command_step(c);
	client_continue(c);
}

/* Later, after others had their turn. */
static void slice_later(struct client *c)
{
	if (c->timer)
		timer_again(c->timer, 0);
	else
		c->timer = loop_timer(c->user->loop, 0, on_slice, c);
}

/* All long commands together have two slices' time between two looks at the connections. */
static uint64_t slice_us(const struct user *u)
{
	uint64_t n = 0;

	list_each(it, &u->clients)
		n += list_of(it, struct client, node)->run.step != NULL;
	const uint64_t us = n > 2 ? 2 * SLICE_US / n : SLICE_US;

	return us > SLICE_MIN_US ? us : SLICE_MIN_US;
}

static enum cmd_result slice(struct client *c, struct err *e)
{
	const uint64_t until = clock_mono_us() + slice_us(c->user);
	enum cmd_result r = CMD_MORE;

	while (r == CMD_MORE && !resp_full(c) && clock_mono_us() < until)
		r = c->run.step(c, e);
	return r;
}

/* A sign of life in commands that take long (RFC 9585), where they know how far they are. */
static void progress(struct client *c)
{
	const uint64_t now = clock_mono_ms();
	struct buf *out;

	if (c->run.told_ms == 0)
		c->run.told_ms = now;
	if (c->run.goal == 0 || now - c->run.told_ms < (uint64_t)c->user->conf->imap_progress_interval * 1000)
		return;
	c->run.told_ms = now;
	out = resp(c);
	buf_c(out, "* OK [INPROGRESS (");
	imap_put_string(out, c->run.tag);
	buf_printf(out, " %llu %llu)] Still working\r\n", (unsigned long long)(c->run.done < c->run.goal ? c->run.done : c->run.goal),
		   (unsigned long long)c->run.goal);
}

void command_step_later(struct client *c)
{
	if (!c->over && c->run.step)
		slice_later(c);
}

void command_aside(struct client *c)
{
	timer_del(&c->timer);		/* it may be that of input that is left over */
	slice_later(c);
}

/* The client goes on where it was, between two commands or idling. What has changed meanwhile comes first. */
static void aside_over(struct client *c)
{
	timer_del(&c->timer);
	c->run.step = NULL;
	c->run.cleanup = NULL;
	c->run.data = NULL;
	folder_push(c);
	if (c->over)
		return;
	if (!c->run.step)
		notify_flush(c);
	resp_flush(c);
	links_wake(c);
}

void command_step(struct client *c)
{
	struct err e = { 0 };

	if (c->over || !c->run.step)
		return;
	c->user->working = c->run.cmd ? c->run.cmd->verb : "NOTIFY";
	const enum cmd_result r = slice(c, &e);

	if (r == CMD_CLOSED)
		return;
	if (r == CMD_ASIDE) {
		aside_over(c);
		return;
	}
	if (r == CMD_AWAY) {
		timer_del(&c->timer);
		resp_flush(c);
		return;
	}
	if (r != CMD_MORE) {
		timer_del(&c->timer);
		command_finish(c, r, &e);
		return;
	}
	progress(c);
	resp_flush(c);
	/* A full connection calls again when it has drained. */
	if (!resp_full(c))
		slice_later(c);
}

/* --- start --- */

static enum cmd_result run(struct client *c, struct imap_lex *l, struct err *e)
{
	struct str verb;

	if (imap_get_verb(l, &verb, e) < 0)
		return CMD_BAD;
	c->run.uid = str_case_eq(verb, STR("UID"));
	if (c->run.uid && imap_get_verb(l, &verb, e) < 0)
		return CMD_BAD;
	const struct command *cmd = command_find(verb);

	if (!cmd || (c->run.uid && !(cmd->flags & CF_UID)))
		return err_set(e, ERR_INPUT, 0, "Unknown command"), CMD_BAD;
	if (c->guest && !(cmd->flags & CF_GUEST))
		return err_set(e, ERR_INPUT, 0, "Not for folders of others"), CMD_BAD;
	enum cmd_result r;

	c->run.cmd = cmd;
	c->user->working = cmd->verb;
	if (relay_try(c, cmd, l, &r, e))
		return r;
	if (!(cmd->states & (c->folder ? ST_SELECTED : ST_AUTH)))
		return err_set(e, ERR_INPUT, 0, "No mailbox selected"), CMD_BAD;
	if (!guest_still(c)) {
		c->why = "Mailbox is no longer shared";
		resp_untagged(c, "BYE Mailbox is no longer shared.");
		return no_perm(c);
	}
	return cmd->fn(c, l, e);
}

/* The command goes on with the client's next line (IDLE): its text is gone, its tag stays in the arena. */
static void wait_for_line(struct client *c)
{
	resp_flush(c);
	buf_fini(&c->text);
	imap_scan_init(&c->scan, IDLE_LINE_MAX);
}

static void trim_line_end(struct imap_lex *l)
{
	while (l->end > l->p && (l->end[-1] == '\n' || l->end[-1] == '\r'))
		l->end--;
}

enum cmd_result command_start(struct client *c)
{
	struct imap_lex l = { .p = c->text.p, .end = c->text.p + c->text.n, .arena = c->arena };
	struct err e = { 0 };
	struct str tag;

	if (c->append) {
		c->user->working = "APPEND";
		trim_line_end(&l);
		const enum cmd_result r = append_finish(c, &l, &e);

		if (r == CMD_MORE)
			command_step(c);
		else
			command_finish(c, r, &e);
		return c->over ? CMD_CLOSED : CMD_OK;
	}
	held_commit(c);
	trim_line_end(&l);
	if (imap_at_end(&l)) {		/* iOS sends empty lines */
		command_drop(c);
		return CMD_OK;
	}
	enum cmd_result r = CMD_BAD;

	if (imap_get_tag(&l, &tag, &e) == 0) {
		c->run.tag = arena_str(c->arena, tag);
		r = run(c, &l, &e);
	}
	if (r == CMD_MORE)
		command_step(c);
	else if (r == CMD_WAIT)
		wait_for_line(c);
	else if (r == CMD_AWAY)
		resp_flush(c);
	else
		command_finish(c, r, &e);
	return c->over ? CMD_CLOSED : CMD_OK;
}

bool command_scan_error(struct client *c)
{
	static const char *const texts[] = {
		[IMAP_SCAN_LONG] = "Command line too long",
		[IMAP_SCAN_BYTES] = "Bare CR, bare LF or NUL in command",
		[IMAP_SCAN_TOOBIG] = "Literal too large",
		[IMAP_SCAN_FATAL] = "Literal too large",
	};
	const enum imap_scan_error error = c->scan.error;
	struct imap_lex l = { .p = c->text.p, .end = c->text.p + c->text.n, .arena = c->arena };
	struct str tag;

	held_commit(c);
	/* No part of a wrong command is run, but its tag is answered. */
	if (c->text.p && imap_get_tag(&l, &tag, NULL) == 0)
		c->run.tag = tag;
	resp_tagged(c, "BAD", error >= IMAP_SCAN_TOOBIG ? "TOOBIG" : "", texts[error]);
	resp_flush(c);
	command_drop(c);
	if (error == IMAP_SCAN_FATAL || ++c->bad >= CLIENT_BAD_MAX) {
		client_end(c, "Too many invalid IMAP commands", "Too many invalid IMAP commands.");
		return false;
	}
	return true;
}
