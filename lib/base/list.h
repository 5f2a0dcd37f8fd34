/* Intrusive doubly linked lists with a head node. Zeroed nodes are "not on a list" after list_init. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l) { l->next = l->prev = l; }
static inline bool list_empty(const struct list *l) { return l->next == l; }
static inline void list_insert(struct list *after, struct list *n)
{
	n->next = after->next;
	n->prev = after;
	after->next->prev = n;
	after->next = n;
}
static inline void list_push(struct list *head, struct list *n) { list_insert(head, n); }
static inline void list_append(struct list *head, struct list *n) { list_insert(head->prev, n); }
static inline void list_del(struct list *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	list_init(n);
}
#define list_of(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))
#define list_each(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)
/* it may be deleted in the body. */
#define list_each_safe(it, head) \
	for (struct list *it = (head)->next, *it##_next = it->next; it != (head); it = it##_next, it##_next = it->next)

#endif
