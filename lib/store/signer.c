/* Text as SEARCH sees it, piece by piece into sets of trigrams. */
#include "store/signer.h"

#include <stdlib.h>

#include "base/arena.h"
#include "imap/text.h"
#include "store/search.h"

enum { TEXT_KEEP = 1 << 20 };

struct signer {
	struct imap_text text;
	struct trigrams t;
};

static bool add_piece(void *ctx, struct str folded)
{
	trigram_add(ctx, folded);
	return false;
}

struct signer *signer_new(void)
{
	struct signer *const s = xzalloc(sizeof(*s));

	imap_text_init(&s->text, add_piece, &s->t);
	return s;
}

void signer_free(struct signer **sp)
{
	if (*sp)
		imap_text_fini(&(*sp)->text);
	free(*sp);
	*sp = NULL;
}

const struct trigrams *signer_head(struct signer *s, struct str head)
{
	struct mail_field f;

	trigrams_reset(&s->t);
	while (head.n && mail_field_next(&head, &f) == 0)
		if (f.name.n && mbox_search_in_head(str_trim(f.name)))
			(void)imap_text_value(&s->text, f.value);
	return &s->t;
}

const struct trigrams *signer_text(struct signer *s, struct str head, const struct mime_part *root)
{
	const struct str own = root->head;

	trigrams_reset(&s->t);
	/* The header as HEADER sees it, and as TEXT does: they are one, but for what is malformed. */
	(void)imap_text_head(&s->text, head);
	(void)imap_text_part(&s->text, root, own.p != head.p || own.n > head.n);
	return &s->t;
}

void signer_rest(struct signer *s)
{
	const struct imap_text *const t = &s->text;

	if (t->folded.cap <= TEXT_KEEP && t->decoded.cap <= TEXT_KEEP && t->utf8.cap <= TEXT_KEEP)
		return;
	imap_text_fini(&s->text);
	imap_text_init(&s->text, add_piece, &s->t);
}
