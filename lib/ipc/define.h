/* Included by each channel's .c with IPC_DEF (the .def file) and IPC_NAME (the channel) set: defines the field tables and
 * the channel's struct ipc_proto. No include guard: once per channel. Each field table ends in an empty row, so
 * that a message without fields has one too. */
#include "base/attr.h"
#include "ipc/ipc.h"

#define IPC_CAT_(a, b) a##b
#define IPC_CAT(a, b) IPC_CAT_(a, b)
#define IPC_TEXT_(a) #a
#define IPC_TEXT(a) IPC_TEXT_(a)

#define IPC_MSG(chan_, msg_, num_, fd_, doc_) static const struct ipc_field fields_##msg_[] = {
#define IPC_STR(chan_, msg_, field_, tag_, max_, need_) \
	{ #field_, IPC_T_STR, (tag_), (need_), (max_), (uint32_t)offsetof(struct ipc_##chan_##_##msg_, field_) },
#define IPC_U64(chan_, msg_, field_, tag_, need_) \
	{ #field_, IPC_T_U64, (tag_), (need_), 0, (uint32_t)offsetof(struct ipc_##chan_##_##msg_, field_) },
#define IPC_STRS(chan_, msg_, field_, tag_, max_, need_) \
	{ #field_, IPC_T_STRS, (tag_), (need_), (max_), (uint32_t)offsetof(struct ipc_##chan_##_##msg_, field_) },
#define IPC_END(chan_, msg_) { NULL, 0, 0, 0, 0, 0 } };
#include IPC_DEF
#undef IPC_MSG
#undef IPC_STR
#undef IPC_U64
#undef IPC_STRS
#undef IPC_END

static const struct ipc_msg msgs[] = {
#define IPC_MSG(chan_, msg_, num_, fd_, doc_) \
	{ #msg_, doc_, (num_), (fd_), (uint32_t)sizeof(struct ipc_##chan_##_##msg_), fields_##msg_, ARRAY_LEN(fields_##msg_) - 1 },
#define IPC_STR(chan_, msg_, field_, tag_, max_, need_)
#define IPC_U64(chan_, msg_, field_, tag_, need_)
#define IPC_STRS(chan_, msg_, field_, tag_, max_, need_)
#define IPC_END(chan_, msg_)
#include IPC_DEF
#undef IPC_MSG
#undef IPC_STR
#undef IPC_U64
#undef IPC_STRS
#undef IPC_END
};

const struct ipc_proto IPC_CAT(ipc_, IPC_NAME) = { IPC_TEXT(IPC_NAME), msgs, ARRAY_LEN(msgs) };
