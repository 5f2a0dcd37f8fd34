/* What clients say of spam by what they do: moves and copies into and out of \Junk, and the keywords by which they mark it ($Junk and $NotJunk are registered;
 * Thunderbird says Junk and NonJunk, Apple Mail NotJunk). The messages are queued for postern-learn (store/train.h). Only the owner's own clients teach, and
 * nothing of it can make their commands fail. */
#include "junk.h"

#include "log/log.h"
#include "store/train.h"

static bool teaches(const struct client *c)
{
	return c->user->conf->learn_from_users && c->guest == NULL;
}

static void trouble(const struct client *c, const struct err *e)
{
	log_warning("imap(%s): messages to learn from: %s", c->user->name, e->text);
}

static void queue(const struct client *c, struct mbox_view *v, const uint32_t *seqs, size_t n, bool spam)
{
	struct err e = { 0 };
	size_t queued = 0;

	if (mbox_train(v, seqs, n, spam, &queued, &e) < 0)
		trouble(c, &e);
	else if (queued > 0)
		log_debug("imap(%s): %zu messages to be learned as %s", c->user->name, queued, spam ? "spam" : "ham");
}

/* --- moves --- */

void junk_moved(struct client *c, struct mbox *dst, struct str to, const uint32_t *uids, size_t n)
{
	enum train_as as = TRAIN_NOTHING;
	uint32_t seqs[JUNK_SAID_MAX];
	struct err e = { 0 };
	size_t k = 0;

	if (!teaches(c))
		return;
	if (train_of_move(c->user->store, c->folder->name, to, &as, &e) < 0)
		trouble(c, &e);
	if (as == TRAIN_NOTHING)
		return;
	struct mbox_view *v = mbox_view_peek(dst);
	for (size_t i = 0; i < n && k < JUNK_SAID_MAX; i++)
		if ((seqs[k] = mbox_view_seq(v, uids[i])) != 0)
			k++;
	queue(c, v, seqs, k, as == TRAIN_SPAM);
	mbox_view_free(&v);
}

/* --- marks --- */

static const char *const marks_spam[] = { "$Junk", "Junk" };
static const char *const marks_ham[] = { "$NotJunk", "NotJunk", "NonJunk" };

static bool has_mark(const struct imap_flags *f, const char *const *marks, size_t n)
{
	for (size_t i = 0; i < f->n; i++)
		for (size_t k = 0; k < n; k++)
			if (str_case_eq(f->keywords[i], str_c(marks[k])))
				return true;
	return false;
}

/* Numbers of the folder's keywords that mark spam. */
static size_t spam_numbers(struct client *c, size_t out[ARRAY_LEN(marks_spam)])
{
	size_t n_names, n = 0;
	const char *const *names = mbox_keywords(c->folder->mbox, &n_names);

	for (size_t i = 0; i < n_names; i++)
		for (size_t k = 0; k < ARRAY_LEN(marks_spam); k++)
			if (n < ARRAY_LEN(marks_spam) && str_case_eq(str_c(names[i]), str_c(marks_spam[k])))
				out[n++] = i;
	return n;
}

static bool marked(const struct mbox_msg *m, const size_t *numbers, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (m->keywords[numbers[i] / 64] >> (numbers[i] % 64) & 1)
			return true;
	return false;
}

/* What a change of keywords says, and of which messages: of those that are marked as spam already, or of those that are not. A mark of ham says nothing where
 * nobody had said spam: clients set it on all that their own filters looked at. */
static enum train_as meaning(struct client *c, enum mbox_flag_op op, const struct imap_flags *f, bool *of_marked, bool *of_all)
{
	const bool spam = has_mark(f, marks_spam, ARRAY_LEN(marks_spam)), ham = has_mark(f, marks_ham, ARRAY_LEN(marks_ham));
	struct err e = { 0 };

	*of_all = false;
	*of_marked = op == MBOX_REMOVE || !spam;
	if (spam && ham)
		return TRAIN_NOTHING;
	if (op == MBOX_REMOVE)
		return spam ? TRAIN_HAM : TRAIN_NOTHING;
	if (ham && train_in_junk(c->user->store, c->folder->name, of_all, &e) < 0)
		trouble(c, &e);
	return spam ? TRAIN_SPAM : ham ? TRAIN_HAM : TRAIN_NOTHING;
}

void junk_marks(struct client *c, enum mbox_flag_op op, const struct imap_flags *f, const uint32_t *seqs, size_t n, struct junk_said *out)
{
	size_t numbers[ARRAY_LEN(marks_spam)];
	bool of_marked, of_all;

	out->n = 0;
	if (f->n == 0 || !teaches(c))
		return;
	const enum train_as as = meaning(c, op, f, &of_marked, &of_all);
	if (as == TRAIN_NOTHING)
		return;
	const size_t n_numbers = spam_numbers(c, numbers);
	out->spam = as == TRAIN_SPAM;
	for (size_t i = 0; i < n && out->n < JUNK_SAID_MAX; i++) {
		struct mbox_msg m;
		if (mbox_msg_get(c->view, seqs[i], &m, NULL) == 0 && (of_all || marked(&m, numbers, n_numbers) == of_marked))
			out->seqs[out->n++] = seqs[i];
	}
}

void junk_marked(struct client *c, const struct junk_said *said)
{
	if (said->n > 0)
		queue(c, c->view, said->seqs, said->n, said->spam);
}
